//! Recovery: a worker that is killed anywhere and taken over from its state records tells the same as one that never
//! stopped, and so does the archive.
//! In: hostile logs, a state topic and an archive in memory, kills and damage from a seed. Out: no difference; and
//! broken recoveries that must be told apart.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use std::sync::Arc;

use auscult::effects::Effect;
use auscult::plan::Plan;
use auscult::source::Record;
use auscult::state::{Key, Report, Restore, Start, key_of};
use auscult::worker::{Event, Worker};
use auscult_datasets::simulate::Draw;
use common::{Told, config, difference, faulty_log, plan_of, walk};
use sha2::{Digest, Sha256};

fn plan(every_s: f64, roll_s: f64) -> Arc<Plan> {
    let mut config = config();
    (config.state.every_s, config.archive.roll_s) = (every_s, roll_s);
    plan_of(&config)
}

/// What outlives a process.
#[derive(Clone, Default)]
struct World {
    state: Vec<(Vec<u8>, Vec<u8>)>,
    committed: i64,
    told: Told,
    archive: bool,
    /// Rows of finished files, and the offset below which they are complete.
    archived: Told,
    archived_below: i64,
}

impl World {
    fn restore(&self, plan: &Arc<Plan>) -> (Worker, Start, Report) {
        let mut restore = Restore::new(plan.clone());
        self.state.iter().for_each(|(k, v)| restore.take(k, Some(v)));
        restore.finish(self.committed, self.archive)
    }
}

/// One life of a process: it goes on from what the world holds, commits after each of `steps` records, and is killed
/// before the commit of its last step. `late` turns pass before the worker hears of a finished file.
fn live(plan: &Arc<Plan>, world: &mut World, log: &[Record], steps: &[usize], late: usize) -> Report {
    let (mut worker, start, report) = world.restore(plan);
    let mut at = usize::try_from(start.offset).unwrap();
    let (mut open, mut finished): (Vec<(i64, Effect)>, Vec<i64>) = (Vec::new(), Vec::new());
    for (n, size) in steps.iter().enumerate() {
        let to = (at + size).min(log.len());
        let mut effects = worker.step(Event::Records(&log[at..to])).list;
        let last = n + 1 == steps.len() && to < log.len();
        if last {
            break;
        }
        for (offset, effect) in &effects {
            if let (true, Effect::State(key, value)) = (*offset >= world.committed, effect) {
                world.state.push((key.clone(), value.clone().unwrap()));
            }
        }
        effects.retain(|(_, e)| !matches!(e, Effect::State(..)));
        let untold = |o: i64| o >= world.committed;
        let (told, _): (Vec<_>, Vec<_>) = effects.drain(..).partition(|(o, _)| untold(*o) || world.archive);
        for one in told {
            if untold(one.0) {
                world.told.take(std::slice::from_ref(&one), at);
            }
            if matches!(one.1, Effect::Roll) {
                let rows = std::mem::take(&mut open);
                rows.iter().for_each(|r| world.archived.take(std::slice::from_ref(r), 0));
                world.archived_below = world.archived_below.max(one.0);
                finished.push(world.archived_below);
            } else if one.0 >= world.archived_below && archived(&one.1) {
                open.push(one);
            }
        }
        if let Some(below) = finished.len().checked_sub(1 + late).map(|i| finished[i]) {
            worker.step(Event::Archived(below));
        }
        world.committed = world.committed.max(to as i64);
        at = to;
    }
    report
}

fn archived(effect: &Effect) -> bool {
    matches!(effect, Effect::Event(..) | Effect::Score(..) | Effect::Frame(..))
}

/// The rows that an archive of the whole log holds, as far as its files are finished.
fn whole_archive(plan: &Arc<Plan>, log: &[Record], below: i64) -> Told {
    let mut rows = Told::default();
    let effects = Worker::new(plan.clone()).step(Event::Records(log)).list;
    effects
        .iter()
        .filter(|(o, e)| *o < below && archived(e))
        .for_each(|e| rows.take(std::slice::from_ref(e), 0));
    rows
}

fn kills(draw: &mut Draw, log: usize) -> Vec<Vec<usize>> {
    let mut lives = Vec::new();
    for _ in 0..2 + draw.below(6) {
        lives.push((0..2 + draw.below(12)).map(|_| 1 + draw.below(log / 12)).collect());
    }
    lives.push(vec![97; log / 97 + 2]);
    lives
}

#[test]
fn killed_anywhere_nothing_is_lost_doubled_or_changed() {
    let mut restored = 0;
    for seed in 1..=12 {
        let mut draw = Draw::new(seed, 99);
        let plan = plan([1.0, 3.0, 20.0][draw.below(3)], [5.0, 11.0][draw.below(2)]);
        let log = faulty_log(seed, 4, 60);
        let (whole, worker) = walk(&plan, &log, &[]);
        let late = draw.below(3);
        let mut world = World { archive: draw.happens(0.6), ..World::default() };
        for steps in kills(&mut draw, log.len()) {
            let report = live(&plan, &mut world, &log, &steps, late);
            assert!(report.unreadable.is_empty() && report.lost == 0 && report.anew == 0, "{report:?}");
            restored += report.restored;
        }
        assert_eq!(difference(&whole, &world.told), None, "seed {seed}");
        if world.archive {
            let expected = whole_archive(&plan, &log, world.archived_below);
            assert_eq!(difference(&expected, &world.archived), None, "seed {seed}: archive");
        }
        // A last take-over at the end knows the same.
        let (mut last, start, _) = world.restore(&plan);
        last.step(Event::Records(&log[usize::try_from(start.offset).unwrap()..]));
        assert_eq!(last.accounts, worker.accounts, "seed {seed}");
        assert_eq!(last.sample_counts(), worker.sample_counts(), "seed {seed}");
        assert_eq!(last.partition_time(), worker.partition_time(), "seed {seed}");
    }
    assert!(restored > 50, "only {restored} snapshots were used");
}

/// Reading starts close to where the predecessor was: not at the beginning, even for patients long silent.
#[test]
fn a_take_over_reads_little() {
    let plan = plan(5.0, 60.0);
    let log = faulty_log(3, 4, 90);
    let mut world = World::default();
    live(&plan, &mut world, &log, &vec![10; log.len() / 10 - 2], 0);
    let (_, start, report) = world.restore(&plan);
    assert_eq!(report.restored, 4);
    let again = world.committed - start.offset;
    let time = |at: i64| log[usize::try_from(at).unwrap()].timestamp;
    assert!(
        (time(world.committed - 1) - time(start.offset)).seconds() <= 7.0,
        "{again} records are read again"
    );
    assert_eq!(start.counted_below.min(world.committed), start.counted_below);
}

/// A worker that leaves writes everything down: its successor reads nothing again.
#[test]
fn after_a_goodbye_nothing_is_read_again() {
    let plan = plan(60.0, 60.0);
    let log = faulty_log(5, 3, 40);
    let cut = log.len() / 2;
    let (mut worker, ..) = World::default().restore(&plan);
    let mut effects = worker.step(Event::Records(&log[..cut])).list;
    effects.extend(worker.step(Event::Save(cut as i64)).list);
    let mut world = World { committed: cut as i64, ..World::default() };
    for (_, effect) in effects {
        if let Effect::State(key, value) = effect {
            world.state.push((key, value.unwrap()));
        }
    }
    let (mut heir, start, report) = world.restore(&plan);
    assert_eq!((start.offset, report.restored), (cut as i64, 3));
    heir.step(Event::Records(&log[cut..]));
    let (_, whole) = walk(&plan, &log, &[]);
    assert_eq!((heir.patients().len(), heir.accounts), (3, whole.accounts));
}

/// A patient whose snapshot would be too large has none; it is recovered by reading the log again.
#[test]
fn what_is_too_large_is_read_again() {
    let mut config = config();
    (config.state.every_s, config.input.lateness_s) = (5.0, 600.0);
    (config.input.quiet_s, config.input.silent_s) = (1000.0, 1000.0);
    let plan = plan_of(&config);
    let log = faulty_log(9, 1, 700);
    let (mut worker, ..) = World::default().restore(&plan);
    worker.step(Event::Records(&log));
    assert!(worker.oversized_snapshots() > 0);
    let (whole, _) = walk(&plan, &log, &[]);
    let mut world = World::default();
    live(&plan, &mut world, &log, &vec![50; log.len() / 50 - 1], 0);
    live(&plan, &mut world, &log, &vec![50; log.len() / 50 + 2], 0);
    assert_eq!(difference(&whole, &world.told), None);
}

/// Damage to the state topic: bits, cuts, swaps, empty and future records. All of it is seen, and what is told stays
/// the same.
#[test]
fn damaged_state_is_seen_and_changes_nothing() {
    let plan = plan(3.0, 11.0);
    let log = faulty_log(8, 4, 50);
    let (whole, _) = walk(&plan, &log, &[]);
    // With an archive the log is read from further back, which hides much.
    let worlds = [true, false].map(|archive| {
        let mut world = World { archive, ..World::default() };
        live(&plan, &mut world, &log, &vec![20; log.len() / 30], 0);
        assert!(world.state.len() > 30);
        world
    });
    let mut draw = Draw::new(8, 5);
    let (mut fell_back, mut lost) = (0, 0);
    for round in 0..300 {
        let mut hurt = worlds[round / 10 % 2].clone();
        // Compaction keeps the newest record of each key; damage hits one or all of the newest ones.
        let mut newest = std::collections::BTreeMap::new();
        hurt.state.drain(..).for_each(|(k, v)| drop(newest.insert(k, v)));
        let sound = newest.clone();
        let keys: Vec<Vec<u8>> = newest.keys().cloned().collect();
        let hits = if round % 10 == 9 { keys.len() } else { 1 + draw.below(4) };
        for n in 0..hits {
            let key = if hits == keys.len() { &keys[n] } else { &keys[draw.below(keys.len())] };
            let Some(value) = newest.get_mut(key) else { continue };
            let at = draw.below(value.len().max(1));
            match draw.below(8) {
                5 => drop(newest.remove(key)),
                7 => {
                    // One snapshot of a patient in the place of its other: an older one where a newer one was.
                    let mut twin = key.clone();
                    twin.pop_if(|slot| matches!(slot, b'0' | b'1'))
                        .into_iter()
                        .for_each(|s| twin.push(s ^ 1));
                    let older = newest.get(&twin).cloned().unwrap_or_default();
                    newest.insert(key.clone(), older);
                }
                6 => {
                    // Sound bytes under a key that they are not of.
                    let mut others = newest.iter().filter(|o| o.0 != key).map(|o| o.1.clone());
                    let other = others.next_back().unwrap_or_default();
                    newest.insert(key.clone(), other);
                }
                0 => value.truncate(at),
                1 => value.clear(),
                2 => value.iter_mut().skip(4).take(1).for_each(|b| *b = 99),
                3 => value.push(0),
                _ => value.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << draw.below(8)),
            }
        }
        if newest == sound {
            continue;
        }
        hurt.state = newest.into_iter().collect();
        let report = live(&plan, &mut hurt, &log, &vec![50; log.len() / 50 + 2], 0);
        assert!(!report.unreadable.is_empty(), "round {round}: damage was not seen");
        assert!(report.unreadable.values().all(|(_, why)| !why.contains("bed")), "{report:?}");
        (fell_back, lost) = (fell_back + report.fell_back, lost + report.lost);
        assert_eq!(difference(&whole, &hurt.told), None, "round {round}: {report:?}");
    }
    assert!(fell_back > 0 && lost > 0, "fell back {fell_back}, lost {lost}");
}

/// State that lacks a patient, or holds one patient's under the key of another, is found out and not used. And a
/// canary: the comparison must see a recovery that tells from further on than it was told.
#[test]
fn state_of_another_or_of_nobody_is_found_out() {
    let plan = plan(3.0, 60.0);
    let log = faulty_log(4, 4, 60);
    let (whole, _) = walk(&plan, &log, &[]);
    let mut world = World::default();
    live(&plan, &mut world, &log, &vec![20; log.len() / 40], 0);
    let rest = vec![50; log.len() / 50 + 2];
    let run = |mut world: World| {
        live(&plan, &mut world, &log, &rest, 0);
        difference(&whole, &world.told)
    };
    assert_eq!(run(world.clone()), None);
    // All records of one patient are gone.
    let mut forgets = world.clone();
    let gone = forgets.state.iter().find_map(|(k, _)| match key_of(k) {
        Some(Key::Patient(p, _)) => Some(p.to_vec()),
        _ => None,
    });
    let gone = gone.unwrap();
    forgets.state.retain(|(k, _)| !matches!(key_of(k), Some(Key::Patient(p, _)) if p == gone));
    assert_eq!(run(forgets), None);
    // The records of two patients stand under each other's keys.
    let mut mixed = world.clone();
    let other = mixed.state.iter().find_map(|(k, _)| match key_of(k) {
        Some(Key::Patient(p, _)) if p != gone => Some(p.to_vec()),
        _ => None,
    });
    let other = other.unwrap();
    for (k, _) in &mut mixed.state {
        if let Some(Key::Patient(p, slot)) = key_of(k) {
            let name = if p == gone {
                &other
            } else if p == other {
                &gone
            } else {
                continue;
            };
            *k = auscult::state::patient_key(std::str::from_utf8(name).unwrap(), slot);
        }
    }
    assert_eq!(run(mixed), None);
    let mut skips = world;
    skips.committed += 40;
    assert!(run(skips).is_some());
}

/// Written down before any record, a worker goes on the same.
#[test]
fn written_down_anywhere_nothing_changes() {
    let plan = plan(4.0, 6.0);
    for (seed, beds, seconds) in [(15621, 2, 24), (2, 2, 20)] {
        let log = faulty_log(seed, beds, seconds);
        let (whole, _) = walk(&plan, &log, &[]);
        for cut in 1..log.len() {
            let (mut worker, ..) = World::default().restore(&plan);
            let mut world = World { committed: cut as i64, ..World::default() };
            let mut effects = worker.step(Event::Records(&log[..cut])).list;
            effects.extend(worker.step(Event::Save(cut as i64)).list);
            world.told.take(&effects, 0);
            world.told.by_kind.remove("state");
            for (_, effect) in effects {
                if let Effect::State(key, value) = effect {
                    world.state.push((key, value.unwrap()));
                }
            }
            live(&plan, &mut world, &log, &[log.len() - cut, 1], 0);
            assert_eq!(difference(&whole, &world.told), None, "seed {seed}, cut at {cut}");
        }
    }
}

/// The bytes of a state, for each version of its form. If they change, raise `state::VERSION` and add a row: state of
/// another version is refused, state of another form under the same version would be misread.
#[test]
fn the_form_of_a_state_is_that_of_its_version() {
    const GOLDEN: &[(u16, &str)] = &[(1, "1ca221d8bc532da1"), (2, "a7736cbe526bb755")];
    let plan = plan(5.0, 60.0);
    let log = faulty_log(1, 2, 30);
    let (mut worker, ..) = World::default().restore(&plan);
    // Those written on the way too: at the end only the mark is new.
    let mut effects = worker.step(Event::Records(&log)).list;
    effects.extend(worker.step(Event::Save(log.len() as i64)).list);
    let (mut sha, mut longest) = (Sha256::new(), Vec::new());
    for (_, effect) in effects {
        if let Effect::State(key, Some(value)) = effect {
            sha.update(key);
            sha.update(&value);
            longest = if value.len() > longest.len() { value } else { longest };
        }
    }
    // Every part stands in a snapshot, and windows are full: ten seconds of ECG and PPG in 16 bits are most of it.
    for (operator, _) in &plan.operators {
        let name = format!("operator:{}", operator.name);
        assert!(longest.windows(name.len()).any(|w| w == name.as_bytes()), "{name} is not in it");
    }
    assert!(longest.len() > 10_000, "windows are not full: {} bytes", longest.len());
    let found: String = sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    let (version, golden) = GOLDEN.last().unwrap();
    assert_eq!((*version, *golden), (auscult::state::VERSION, found.as_str()), "version and bytes");
}
