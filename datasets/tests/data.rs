//! The readers on real records: figures computed once with wfdb-python 4.3.1, sample for sample.
//! In: the folder named by `AUSCULT_DATA`, else `../shared/data` beside the workspace. Out: equality, or one
//! line that says what was not run.
#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a test that did not run must say so")]

use std::path::{Path, PathBuf};

use auscult_datasets::open;
use auscult_datasets::read::wfdb::annotations;
use auscult_datasets::recording::Data;
use auscult_datasets::write::wfdb::write_annotations;

fn data(what: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = std::env::var_os("AUSCULT_DATA").map_or(workspace.join("../shared/data"), PathBuf::from);
    let found = root.join(what);
    if found.exists() {
        return Some(found);
    }
    eprintln!("not run: {what} is not there; set AUSCULT_DATA");
    None
}

/// Sum over samples of count times (1 + position modulo 65521), in 63 bits: moves with any change of any
/// sample.
fn fingerprint(data: &Data) -> i64 {
    let Data::Counts(counts, _) = data else { panic!("not counts of 16 bits") };
    let sum = counts
        .iter()
        .zip(1i64..)
        .fold(0i64, |sum, (&c, i)| sum.wrapping_add(i64::from(c).wrapping_mul(i % 65_521)));
    sum & i64::MAX
}

/// Record, signal, samples, fingerprint, missing samples. By wfdb-python's `rdrecord`.
const REFERENCE: &[(&str, usize, usize, i64, usize)] = &[
    ("challenge2015/a167l", 0, 82_500, 1_249_250_608_025, 0),
    ("challenge2015/a167l", 1, 82_500, 9_223_371_909_181_352_164, 0),
    ("challenge2015/a167l", 2, 82_500, 26_443_176_430_705, 0),
    ("challenge2015/a167l", 3, 82_500, 11_862_868_149_166, 0),
    ("challenge2017/A00027", 0, 9_000, 9_223_372_035_918_659_164, 0),
    ("challenge2017/A00400", 0, 9_000, 133_059_727, 0),
    ("cudb/cu01", 0, 127_232, 9_223_371_709_910_864_426, 0),
    ("mimic_waveform/s25047/3234460_0001", 0, 28_637, 9_223_372_036_602_260_507, 45),
    ("mimic_waveform/s25047/3234460_0001", 1, 28_637, 9_223_372_036_735_016_069, 35),
    ("mimic_waveform/s25047/3234460_0018", 0, 93_975, 9_223_372_035_134_161_190, 152),
    ("mimic_waveform/s25047/3234460_0018", 1, 93_975, 9_223_372_035_819_006_577, 44),
    ("mimic_waveform/s25047/3234460_0018", 2, 93_975, 9_223_371_733_101_960_642, 0),
    ("mitdb/100", 0, 650_000, 20_357_185_811_417, 0),
    ("mitdb/100", 1, 650_000, 20_829_667_805_370, 0),
    ("mitdb/203", 0, 650_000, 20_916_709_078_279, 0),
    ("mitdb/203", 1, 650_000, 21_753_139_813_025, 0),
    ("nstdb/118e_6", 0, 650_000, 7_248_327_386_746, 0),
    ("nstdb/118e_6", 1, 650_000, 9_223_356_061_858_810_563, 0),
    ("nstdb/bw", 0, 650_000, 3_948_475_891, 0),
    ("nstdb/bw", 1, 650_000, 9_223_372_021_968_982_314, 0),
];

#[test]
fn equal_to_wfdb_python() {
    for &(record, signal, samples, expected, missing) in REFERENCE {
        let Some(path) = data(&format!("{record}.hea")) else { continue };
        let rec = open(&path).unwrap();
        let wave = &rec.waves[signal];
        assert_eq!(wave.stretches[0].data.len(), samples, "{record} {signal}");
        assert_eq!(fingerprint(&wave.stretches[0].data), expected, "{record} {signal}");
        assert_eq!(wave.values().iter().filter(|v| v.is_nan()).count(), missing, "{record} {signal}");
    }
}

#[test]
fn variable_layout_with_gaps() {
    let Some(path) = data("mimic_waveform/s25047/s25047-2704-05-04-10-44.hea") else { return };
    let rec = open(&path).unwrap();
    let labels: Vec<_> = rec.waves.iter().map(|w| w.label.as_str()).collect();
    assert_eq!(labels, ["II", "V", "ABP"]);
    // Missing samples by wfdb-python, which fills gaps.
    for (wave, missing) in rec.waves.iter().zip([26_462, 25_869, 445_740]) {
        let values = wave.values();
        let absent = values.iter().filter(|v| v.is_nan()).count() + (543_240 - values.len());
        assert_eq!(absent, missing, "{}", wave.label);
    }
    let numerics = open(&data("mimic_waveform/s25047/s25047-2704-05-04-10-44n.hea").unwrap()).unwrap();
    assert!(numerics.waves.is_empty() && numerics.unmapped().next().is_none());
    assert_eq!(numerics.observations.len(), 4 * 72 + 18 + 18 + 21);
}

#[test]
fn annotations_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut beats = 0;
    for set in ["mitdb", "nstdb", "cudb"] {
        let Some(path) = data(set) else { return };
        let files = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
        for file in files.filter(|f| f.extension().is_some_and(|e| e == "atr")) {
            let read = annotations::read(&file).unwrap();
            let again = folder.path().join("again.atr");
            write_annotations(&again, &read).unwrap();
            assert!(std::fs::read(&again).unwrap() == std::fs::read(&file).unwrap(), "{}", file.display());
            if set == "mitdb" {
                beats += read.items.iter().filter(|a| a.is_beat()).count();
            }
        }
    }
    assert_eq!(beats, 59_825);
}

#[test]
fn csv_and_stays() {
    let Some(bidmc) = data("bidmc/bidmc_24_Signals.csv") else { return };
    let rec = open(&bidmc).unwrap();
    assert_eq!((rec.waves.len(), rec.unmapped().count()), (7, 0));
    assert!(rec.waves.iter().all(|w| w.rate.get() == 125.0 && w.stretches[0].data.len() == 60_001));
    assert_eq!(rec.observations.len(), 4 * 481);
    let (mut stays, mut hours, mut septic) = (0, 0, 0);
    for set in ["challenge2019/sample_setA", "challenge2019/sample_setB"] {
        let Some(path) = data(set) else { return };
        for file in std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()) {
            let rec = open(&file).unwrap();
            stays += 1;
            hours += rec.labels.len();
            septic += usize::from(rec.labels.iter().any(|l| l.value == 1.0));
        }
    }
    assert_eq!((stays, hours, septic), (60, 2_774, 30));
}
