//! Fetches ONNX Runtime at build time, so that what was built with a network runs without one.
//! In: the pinned wheel. Out: the library in the cache folder, or a warning; the build never fails for it.

#[allow(dead_code, reason = "shared with the crate, which uses the rest")]
#[path = "src/onnxruntime/fetch.rs"]
mod fetch;

#[allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/onnxruntime/fetch.rs");
    for name in [fetch::FORBID, "ORT_DYLIB_PATH", "XDG_CACHE_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    let crossing = var("HOST") != var("TARGET");
    if crossing || fetch::forbidden() || var("ORT_DYLIB_PATH").is_some() {
        return;
    }
    let there = fetch::cached().filter(|p| p.is_file());
    match there.map_or_else(fetch::fetch, Ok) {
        // Somebody who empties the cache gets it back with the next build; a failed fetch is not tried at each build.
        Ok(path) => println!("cargo::rerun-if-changed={}", path.display()),
        Err(e) => {
            println!("cargo::warning=models will need ONNX Runtime at first use: {e}; {}", fetch::BY_HAND)
        }
    }
}
