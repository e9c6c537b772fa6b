//! The third-party checkers themselves: each must pass right data and flag every kind of wrong data it is there for.
//! In: nothing; each script carries its own examples (`--self-test`). Out: its findings.
//! A new script in `tests/python/` takes part without being listed.

use std::path::Path;
use std::time::Duration;

use auscult_tests::{binary, http, process, promtool, python};

#[test]
fn every_script_flags_wrong_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut scripts: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of scripts")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".py") && name != "findings.py")
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in scripts {
        let findings = python::check(&script, ["--self-test"]);
        assert_eq!(findings["self_test"], true, "{script}: {findings}");
        assert!(findings["cases"].as_u64().is_some_and(|cases| cases >= 5), "{script}: {findings}");
    }
}

#[test]
fn a_script_that_finds_faults_fails() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("cases.json");
    let case =
        r#"{"cases":[{"name":"n","rfft":{},"input":[1,0],"output":[[1,0],[1,0.5]],"rtol_peak":1e-5}]}"#;
    std::fs::write(&file, case).expect("write");
    let output = python::run("check_filters.py", [&file], "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""ok": false"#));
}

#[test]
fn promtool_tells_good_metrics_and_rules_from_bad() {
    let good = "# HELP auscult_frames_total Frames read.\n# TYPE auscult_frames_total counter\n\
                auscult_frames_total 3\n";
    promtool::check_metrics(good).expect("clean metrics");
    let bad = promtool::check_metrics("auscult_frames{ 3\n");
    assert!(bad.is_err());
    let folder = tempfile::tempdir().expect("temporary folder");
    let rules = folder.path().join("rules.yml");
    let text = "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n";
    std::fs::write(&rules, text).expect("write");
    promtool::check_rules(&rules).expect("clean rules");
    std::fs::write(&rules, text.replace("up == 0", "up ==")).expect("write");
    assert!(promtool::check_rules(&rules).is_err());
}

#[test]
fn the_binary_is_built_and_runs() {
    let path = binary::auscult();
    assert!(path.is_file(), "{}", path.display());
    assert!(path.ends_with(if cfg!(debug_assertions) { "debug/auscult" } else { "release/auscult" }));
    // A binary that does not start ends by a signal or with 126 or 127.
    let output = binary::run(["--version"]);
    assert!(output.status.code().is_some_and(|code| code < 126), "{output:?}");
}

#[test]
fn http_get_reads_a_real_server() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("livez"), "ok").expect("write");
    let port = process::free_ports(1)[0].to_string();
    let server = process::Start::new(python::interpreter());
    let server = server.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", &port]);
    let _server = server.current_dir(folder.path()).spawn(folder.path(), "server");
    let address = format!("127.0.0.1:{port}");
    assert_eq!(http::wait_for_ok(&address, "/livez", Duration::from_secs(30)).text(), "ok");
    assert_eq!(http::get(&address, "/absent").expect("an answer").status, 404);
}
