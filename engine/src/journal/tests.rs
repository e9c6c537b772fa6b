//! The journal under a simulated ward: ended anywhere, damaged anywhere, what was told is what an unbroken run tells.
//! In: six beds, small segments, dropped processes, flipped bits, cut and missing files. Out: no difference.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use auscult_datasets::simulate::{Draw, ward};
use auscult_operators::signal::{EventTime, Frame, Span};

use super::*;
use crate::config::Config;
use crate::local::{Local, Resumed};

const SECONDS: u64 = 60;
const SMALL: u64 = 24 << 10;

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let mut config = Config::default();
    config.models.run.clear();
    config.rules.retain(|r| !r.kind.starts_with("model"));
    (config.state.every_s, config.http.live) = (4.0, false);
    Arc::new(crate::check::plan(&config, "", "test", false).unwrap())
});

const START: i64 = 1_700_000_000;

static FRAMES: LazyLock<Vec<Vec<Frame>>> = LazyLock::new(|| {
    let mut beds = ward(1, 6, EventTime::from_seconds(START));
    (0..SECONDS).map(|_| beds.iter_mut().filter_map(|b| b.next_second()).collect()).collect()
});

/// Plays until a second has passed, or until a number of frames was handed over, as if killed then.
fn play(dir: &Path, until: u64, mut frames: usize) -> Resumed {
    let (mut local, resumed) = Local::durable(&PLAN, 2, dir, SMALL).unwrap();
    for second in resumed.source..until {
        local.source_at(second);
        for frame in &FRAMES[usize::try_from(second).unwrap()] {
            if frames == 0 {
                return resumed;
            }
            frames -= 1;
            local.append(frame);
        }
        local.tick(EventTime::from_seconds(START) + Span::from_seconds(second as f64 + 1.0));
        local.commit(second + 1).unwrap();
    }
    resumed
}

type Told = BTreeMap<usize, Vec<(Topic, Vec<u8>)>>;

fn told(dir: &Path) -> Told {
    (0..2).map(|p| (p, outputs(&dir.join(format!("partition-{p}"))).unwrap())).collect()
}

static WHOLE: LazyLock<Told> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), SECONDS, usize::MAX);
    told(dir.path())
});

fn assert_whole(dir: &Path, what: &str) {
    let told = told(dir);
    for (p, expected) in WHOLE.iter() {
        assert!(expected.len() > 3, "partition {p} tells little: {}", expected.len());
        let differs = expected.iter().zip(&told[p]).position(|(a, b)| a != b);
        assert_eq!((differs, told[p].len()), (None, expected.len()), "{what}: partition {p}");
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = (0..2)
        .flat_map(|p| std::fs::read_dir(dir.join(format!("partition-{p}"))).unwrap())
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "journal"))
        .collect();
    all.sort();
    all
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for p in 0..2 {
        let (from, to) = (from.join(format!("partition-{p}")), to.path().join(format!("partition-{p}")));
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn ended_anywhere_it_goes_on_exactly() {
    let mut draw = Draw::new(1, 1);
    let (mut restored, mut again) = (0, 0);
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..8 {
            let resumed = play(dir.path(), SECONDS, draw.below(60));
            assert_eq!(resumed.cuts, [], "what was not committed was not written");
            (restored, again) = (restored + resumed.restored, again.max(resumed.again));
        }
        play(dir.path(), SECONDS, usize::MAX);
        assert_whole(dir.path(), &format!("round {round}"));
    }
    assert!(restored > 40, "only {restored} snapshots were used");
    assert!(again > 0 && again < 120, "{again} records were read again: about two intervals are enough");
}

#[test]
fn segments_that_nobody_needs_lose_their_records() {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), SECONDS, usize::MAX);
    let all = segments(dir.path());
    let sizes: Vec<u64> = all.iter().map(|p| std::fs::metadata(p).unwrap().len()).collect();
    assert!(all.len() >= 8, "{sizes:?}");
    let small = sizes.iter().filter(|s| **s < SMALL / 2).count();
    assert!(small > all.len() / 3, "{small} of {} segments were written anew: {sizes:?}", all.len());
    assert_whole(dir.path(), "outputs are kept");
}

#[test]
fn damaged_anywhere_it_is_seen_and_computed_again() {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), SECONDS - 10, usize::MAX);
    let mut draw = Draw::new(5, 5);
    let mut began_anew = 0;
    for round in 0..24 {
        let hurt = copy(dir.path());
        let all = segments(hurt.path());
        let victim = &all[draw.below(all.len())];
        let mut bytes = std::fs::read(victim).unwrap();
        let at = draw.below(bytes.len());
        let newest = !victim.with_file_name(next_name(victim)).exists();
        match round % 6 {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            2 => bytes[at..].fill(0),
            3 => bytes = std::fs::read(&all[draw.below(all.len())]).unwrap(),
            _ => bytes[at] ^= 1 << draw.below(8),
        }
        let changed = bytes != std::fs::read(victim).unwrap();
        match round {
            _ if round % 12 == 7 && !newest => std::fs::remove_file(victim).unwrap(),
            _ => std::fs::write(victim, &bytes).unwrap(),
        }
        let resumed = play(hurt.path(), SECONDS, usize::MAX);
        assert_eq!(resumed.cuts.is_empty(), !changed, "round {round}: {}", victim.display());
        began_anew += u32::from(resumed.source == 0);
        assert_whole(hurt.path(), &format!("round {round}"));
    }
    assert!(began_anew > 0, "no damage was so old that all began anew");
}

fn next_name(path: &Path) -> String {
    let number: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    format!("{:08}.journal", number + 1)
}

#[test]
fn one_process_at_a_time_and_one_version() {
    let dir = tempfile::tempdir().unwrap();
    let one = Journal::open(dir.path(), &PLAN, SMALL).unwrap();
    assert!(matches!(Journal::open(dir.path(), &PLAN, SMALL), Err(JournalError::Busy { .. })));
    drop(one);
    let path = segment::path(dir.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4] = 9;
    let sum = segment::sum(&[&bytes[..30]]);
    bytes[30..38].copy_from_slice(&sum);
    std::fs::write(&path, &bytes).unwrap();
    let Err(JournalError::Version { found: 9, .. }) = Journal::open(dir.path(), &PLAN, SMALL) else {
        panic!("a journal of another version must be left as it is");
    };
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
