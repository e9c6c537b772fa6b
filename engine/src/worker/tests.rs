//! What only the inside of a worker shows: deadlines, and the bound of patients.
//! In: simulated wards. Out: exactly one deadline for each patient that is watched, none for one that is silent.

use auscult_datasets::simulate::{Draw, SimulatedBed, ward};

use super::*;
use crate::config::Config;
use crate::decode::encode_tick;
use crate::source::recording;

fn plan(quiet_s: f64, silent_s: f64) -> Arc<Plan> {
    let mut config = Config::default();
    config.models.run.clear();
    config.pipeline.disabled = auscult_operators::registry::OPERATORS.iter().map(|s| s.name.into()).collect();
    (config.input.quiet_s, config.input.silent_s) = (quiet_s, silent_s);
    config.rules.retain(|r| r.kind == "source_silent");
    Arc::new(crate::check::plan(&config, "", "test", true).unwrap_or_else(|e| panic!("{e}")))
}

/// Each patient has the deadline that its state calls for, and nothing else is watched.
fn check(worker: &Worker) {
    let mut expected = BTreeSet::new();
    for (at, p) in worker.patients.iter().enumerate() {
        let mine: Vec<EventTime> = worker.deadlines.iter().filter(|d| d.1 == at).map(|d| d.0).collect();
        assert_eq!(mine.len(), usize::from(!p.silent), "{mine:?}");
        if let Some(due) = mine.first() {
            let latest = p.last_heard + if p.flushed { worker.plan.silent } else { worker.plan.quiet };
            assert!(*due <= latest && worker.partition_time.is_some_and(|now| now < *due));
            expected.insert((*due, at));
        }
        assert!(p.flushed || !p.silent);
    }
    assert_eq!(worker.deadlines, expected);
}

fn record(bed: &mut SimulatedBed, at: EventTime) -> Option<Record> {
    let frame = bed.next_second()?;
    Some(Record { timestamp: at, ..recording::record(&frame, 0) })
}

#[test]
fn one_deadline_for_each_patient_that_is_watched() {
    for (seed, quiet, silent) in [(1, 5.0, 10.0), (2, 2.0, 30.0), (3, 4.0, 4.0)] {
        let mut worker = Worker::new(plan(quiet, silent));
        let start = EventTime::from_seconds(1_735_689_600);
        let mut beds = ward(seed, 5, start);
        let mut draw = Draw::new(seed, 1);
        let mut silences = 0;
        for second in 0..600 {
            let now = start + Span::seconds_const(second);
            for (i, bed) in beds.iter_mut().enumerate() {
                // Beds come and go; some records bear a time from before.
                let here = (second / [7, 11, 23, 40, 600][i]) % 2 == 0 && draw.happens(0.8);
                let behind = Span::from_seconds(if draw.happens(0.1) { -20.0 } else { 0.5 });
                if let Some(r) = record(bed, now + behind).filter(|_| here) {
                    worker.step(Event::Records(&[r.clone(), r]));
                    check(&worker);
                }
            }
            let value = encode_tick(now).into();
            let tick = Record { offset: 0, timestamp: now, key: Default::default(), value, json: false };
            worker.step(Event::Records(&[tick]));
            check(&worker);
            silences += worker.patients.iter().filter(|p| p.silent).count();
        }
        assert!(silences > 20);
    }
}

#[test]
fn quiet_data_is_sealed_in_time_though_silence_is_far() {
    // Heard again between quiet and silent: what came then is sealed after the quiet time, not at the silent time.
    let mut worker = Worker::new(plan(2.0, 60.0));
    let start = EventTime::from_seconds(1_735_689_600);
    let mut bed = ward(1, 1, start).remove(0);
    let mut sealed = Vec::new();
    for second in 0..12 {
        let now = start + Span::seconds_const(second);
        let record = record(&mut bed, now).filter(|_| second == 0 || second == 5);
        let value = encode_tick(now).into();
        let tick = Record { offset: 0, timestamp: now, key: Default::default(), value, json: false };
        worker.step(Event::Records(&[record.unwrap_or(tick)]));
        let to = worker.patients.first().and_then(|p| p.timeline.sealed_to());
        sealed.push(to.map_or(0.0, |t| (t - start).seconds()));
    }
    assert_eq!(sealed, [0.0, 0.0, 1.0, 1.0, 1.0, 4.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.0]);
}

#[test]
fn further_patients_are_refused_and_the_known_go_on() {
    let mut worker = Worker::new(plan(5.0, 10.0));
    worker.patients_max = 2;
    let start = EventTime::from_seconds(1_735_689_600);
    let mut beds = ward(1, 3, start);
    let mut codes = Vec::new();
    for second in 0..3 {
        for bed in &mut beds {
            let Some(r) = record(bed, start + Span::seconds_const(second)) else { continue };
            for (_, effect) in worker.step(Event::Records(&[r])).list {
                if let Effect::Aside(_, reject) = effect {
                    codes.push(reject.code);
                }
            }
        }
    }
    assert_eq!(codes, ["too_many_patients"; 3]);
    assert_eq!((worker.patients.len(), worker.accounts.processed), (2, 6));
}

#[test]
fn partitions_end_their_files_one_after_the_other_and_again_at_the_same_times() {
    let start = EventTime::from_seconds(1_735_689_600);
    let ends = |partition: i32, begin: i64| -> Vec<i64> {
        let mut worker = Worker::new(plan(5.0, 10.0)).of_partition(partition);
        let ticks = (begin..180).filter(|&second| {
            let (timestamp, value) = (start + Span::seconds_const(second), encode_tick(start).into());
            let tick = Record { offset: second, timestamp, key: Default::default(), value, json: false };
            let effects = worker.step(Event::Records(&[tick])).list;
            effects.iter().any(|e| matches!(e.1, Effect::Roll))
        });
        ticks.collect()
    };
    let mut all = BTreeSet::new();
    for partition in 0..16 {
        let seconds = ends(partition, 0);
        assert!(seconds.len() >= 2 && seconds.windows(2).all(|w| w[1] - w[0] == 60), "{seconds:?}");
        assert!(all.insert(seconds[0]), "{partition}: another partition's files end in that second too");
        let later: Vec<i64> = seconds.iter().copied().filter(|s| *s > 70).collect();
        assert_eq!(ends(partition, 70), later, "it is the log's time that counts, not where reading began");
    }
}

#[test]
fn scores_that_do_not_change_are_told_once_a_minute_and_not_all_at_once() {
    let mut worker = Worker::new(plan(5.0, 10.0));
    let start = EventTime::from_seconds(1_735_689_600);
    let mut beds = ward(1, 60, start);
    let (mut told, mut in_second, mut away) = (HashMap::new(), HashMap::new(), HashMap::new());
    for second in 0..300 {
        let mut records = Vec::new();
        for (at, bed) in beds.iter_mut().enumerate() {
            match record(bed, start + Span::seconds_const(second)) {
                Some(record) => records.push(record),
                None => drop(away.insert(format!("bed-{:03}", at + 1), second)),
            }
        }
        for (_, effect) in worker.step(Event::Records(&records)).list {
            let Effect::Score(score, _) = effect else { continue };
            let last = told.insert(score.patient.clone(), second).unwrap_or(second);
            let was_away = away.get(&score.patient).is_some_and(|a| *a + 5 > last);
            assert!(second - last <= 60 || was_away, "{}: nothing for {} s", score.patient, second - last);
            *in_second.entry(second).or_insert(0) += i32::from(second >= 60);
        }
    }
    assert!(told.len() == 60 && away.len() < 30);
    // Beds that all began in one second; the simulated state of some of them changes in the meantime.
    let most = in_second.values().max().copied().unwrap_or(0);
    assert!((1..=10).contains(&most), "{most} of 60 in one second");
}

#[test]
fn a_staggered_model_is_asked_of_each_patient_at_seconds_of_its_own() {
    let seconds = |staggered: bool| {
        let mut plan =
            crate::check::plan(&Config::default(), "", "test", true).unwrap_or_else(|e| panic!("{e}"));
        plan.predictions = true;
        plan.models.iter_mut().for_each(|m| m.manifest.staggered = staggered);
        let mut worker = Worker::new(Arc::new(plan));
        let start = EventTime::from_seconds(1_735_689_600);
        let mut beds = ward(1, 30, start);
        let mut asked: HashMap<String, Vec<i64>> = HashMap::new();
        for second in 0..190 {
            let records = beds.iter_mut().filter_map(|bed| record(bed, start + Span::seconds_const(second)));
            let records: Vec<Record> = records.collect();
            for (_, effect) in worker.step(Event::Records(&records)).list {
                if let Effect::Predictions(patient, time, _) = effect {
                    asked
                        .entry(patient.expose().into())
                        .or_default()
                        .push((time - start).micros() / 1_000_000);
                }
            }
        }
        assert_eq!(asked.len(), 30);
        asked
    };
    let own: BTreeSet<i64> = seconds(true)
        .into_values()
        .map(|at| {
            assert!(at.windows(2).all(|w| (w[1] - w[0]) % 60 == 0), "{at:?}");
            at[0] % 60
        })
        .collect();
    assert!(own.len() > 10, "{own:?}");
    assert!(seconds(false).into_values().flatten().all(|at| at % 60 == 0));
}
