//! Compiles the wire schema, without a protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/frame.proto"], ["proto"])?;
    prost_build::Config::new().bytes([".auscult.v1.Wave.counts"]).compile_fds(files)?;
    println!("cargo::rerun-if-changed=proto/frame.proto");
    Ok(())
}
