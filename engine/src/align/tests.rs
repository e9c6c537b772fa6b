//! Exact expectations of the alignment, case by case.
//! In: small frames written as `(start ms, samples)`. Out: the sealed epochs, sample by sample.

use auscult_operators::signal::frame::{Samples, Wave};
use auscult_operators::signal::{ChannelId, Hertz, PatientId, SourceId};

use super::*;

const LATENESS: Span = Span::seconds_const(2);

fn ms(ms: i64) -> EventTime {
    EventTime::from_micros(1_000_000_000_000_000 + ms * 1000)
}

fn frame(sequence: u64, at_ms: i64) -> Frame {
    Frame {
        patient: PatientId::new("p"),
        source: SourceId("s".into()),
        session: 0,
        sequence,
        time: ms(at_ms),
        waves: vec![],
        observations: vec![],
        device: None,
        commands: vec![],
    }
}

fn wave(channel: &str, rate: f64, start_ms: i64, values: &[f32]) -> Wave {
    let channel = ChannelId::named(channel).unwrap();
    Wave { channel, rate: Hertz(rate), start: ms(start_ms), samples: Samples::Values(values.to_vec()) }
}

fn ecg(sequence: u64, rate: f64, start_ms: i64, values: &[f32]) -> Frame {
    Frame { waves: vec![wave("ecg", rate, start_ms, values)], ..frame(sequence, start_ms) }
}

fn pulse(sequence: u64, at_ms: i64, value: Option<f64>) -> Frame {
    let channel = ChannelId::named("heart_rate").unwrap();
    let o = Observation { channel, observed_at: ms(at_ms), value, quality: 1.0 };
    Frame { observations: vec![o], ..frame(sequence, at_ms) }
}

fn device(sequence: u64, at_ms: i64, status: DeviceStatus) -> Frame {
    Frame { device: Some(status), ..frame(sequence, at_ms) }
}

struct Bench {
    timeline: Timeline,
    sealed: Epochs,
    fates: Vec<Fate>,
}

fn feed(frames: &[Frame]) -> Bench {
    let mut b = Bench { timeline: Timeline::default(), sealed: Epochs::default(), fates: vec![] };
    frames.iter().enumerate().for_each(|(i, f)| b.take(f, i as i64));
    b
}

/// All frames, then quiet.
fn flushed(frames: &[Frame]) -> Bench {
    let mut b = feed(frames);
    b.timeline.seal_all(&mut b.sealed);
    b
}

impl Bench {
    fn take(&mut self, frame: &Frame, offset: i64) {
        let fate = self.timeline.take(&Arc::new(frame.clone()), offset);
        self.fates.push(fate);
        if fate == Fate::Processed {
            self.timeline.seal_due(LATENESS, &mut self.sealed);
        }
    }
    /// Every run: start in ms, `r` for reset, bridged, samples.
    fn runs(&self) -> Vec<(i64, bool, usize, Vec<f32>)> {
        let all = self.sealed.iter().flat_map(|s| s.runs.iter().map(move |r| (s, r)));
        all.map(|(s, r)| {
            let start = (r.start - ms(0)).micros() / 1000;
            (start, r.reset, r.bridged, s.raw[r.range.clone()].to_vec())
        })
        .collect()
    }
    /// Starts of the sealed epochs in seconds.
    fn starts(&self) -> Vec<i64> {
        self.sealed.iter().map(|s| (s.start - ms(0)).micros() / 1_000_000).collect()
    }
    fn samples(&self) -> Vec<usize> {
        self.sealed.iter().map(|s| s.raw.len()).collect()
    }
    /// Epochs are whole seconds, rise, and hold the ranges that they say.
    fn sound(&self) {
        assert!(self.sealed.windows(2).all(|w| w[0].start < w[1].start));
        for s in self.sealed.iter() {
            assert_eq!(s.start, s.start.epoch_start());
            let mut at = 0;
            for r in &s.runs {
                assert_eq!(r.range.start, at);
                at = r.range.end;
            }
            assert_eq!(at, s.raw.len());
            assert!(s.runs.windows(2).all(|w| (w[0].channel, w[0].start) <= (w[1].channel, w[1].start)));
        }
    }
}

fn same(a: &[Sealed], b: &[Sealed]) {
    // Evidence names offsets, and these differ with the order of arrival.
    let plain = |s: &[Sealed]| -> Vec<String> {
        s.iter().map(|s| format!("{:?}", Sealed { evidence: Evidence::default(), ..s.clone() })).collect()
    };
    assert_eq!(plain(a), plain(b));
}

/// Ten samples a second: 100 ms apart. ECG holds 40 ms, so 50 Hz bridges one sample missing and not two.
#[test]
#[allow(clippy::type_complexity, reason = "a table of cases")]
fn gaps_within_the_hold_are_bridged_and_longer_ones_reset() {
    let cases: [(&[f32], i64, &[f32], Vec<(i64, bool, usize, Vec<f32>)>); 4] = [
        // No gap.
        (&[1.0, 2.0], 40, &[3.0], vec![(0, true, 0, vec![1.0, 2.0, 3.0])]),
        // One sample missing.
        (&[1.0, 2.0], 60, &[4.0], vec![(0, true, 1, vec![1.0, 2.0, 3.0, 4.0])]),
        // Two missing: 40 ms, the hold to the full.
        (&[1.0, 2.0], 80, &[5.0], vec![(0, true, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0])]),
        // Three missing: beyond it.
        (&[1.0, 2.0], 100, &[6.0], vec![(0, true, 0, vec![1.0, 2.0]), (100, true, 0, vec![6.0])]),
    ];
    for (first, at, second, expected) in cases {
        let b = flushed(&[ecg(0, 50.0, 0, first), ecg(1, 50.0, at, second)]);
        assert_eq!(b.runs(), expected, "second frame at {at} ms");
        let reset = expected.len() as u64 - 1;
        assert_eq!((b.timeline.counts.gaps, b.timeline.counts.bridged), (reset, expected[0].2 as u64));
        b.sound();
    }
}

#[test]
fn a_bridge_may_cross_the_whole_second() {
    let b = flushed(&[ecg(0, 50.0, 940, &[1.0, 2.0]), ecg(1, 50.0, 1000, &[4.0])]);
    assert_eq!(b.runs(), [(940, true, 0, vec![1.0, 2.0]), (980, false, 1, vec![3.0, 4.0])]);
}

#[test]
fn of_overlapping_samples_the_first_stand() {
    let b = flushed(&[ecg(0, 50.0, 0, &[1.0, 2.0, 3.0]), ecg(1, 50.0, 20, &[-2.0, -3.0, 4.0])]);
    assert_eq!(b.runs(), [(0, true, 0, vec![1.0, 2.0, 3.0, 4.0])]);
    assert_eq!((b.timeline.counts.overlapping, b.timeline.counts.taken), (2, 4));
}

#[test]
fn another_rate_and_only_that_starts_anew() {
    let b =
        flushed(&[ecg(0, 50.0, 0, &[1.0, 2.0]), ecg(1, 100.0, 40, &[3.0, 4.0]), ecg(2, 100.0, 60, &[5.0])]);
    assert_eq!(b.runs(), [(0, true, 0, vec![1.0, 2.0]), (40, true, 0, vec![3.0, 4.0, 5.0])]);
}

#[test]
fn jitter_below_half_a_sample_is_none() {
    let b = flushed(&[ecg(0, 50.0, 0, &[1.0, 2.0]), ecg(1, 50.0, 49, &[3.0]), ecg(2, 50.0, 51, &[4.0])]);
    assert_eq!(b.runs(), [(0, true, 0, vec![1.0, 2.0, 3.0, 4.0])]);
}

#[test]
fn sentinels_and_nan_are_holes() {
    let counts = |missing| Samples::Counts {
        counts: vec![10, -1, 30, -1, -1, -1, 70],
        scale: 0.5,
        offset: 1.0,
        missing,
    };
    let with = |samples| {
        let mut f = ecg(0, 50.0, 0, &[0.0]);
        f.waves[0].samples = samples;
        flushed(&[f]).runs()
    };
    let holes = vec![(0, true, 1, vec![6.0, 11.0, 16.0]), (120, true, 0, vec![36.0])];
    assert_eq!(with(counts(Some(-1))), holes);
    let nan = f32::NAN;
    assert_eq!(with(Samples::Values(vec![6.0, nan, 16.0, nan, nan, nan, 36.0])), holes);
    assert_eq!(with(counts(None)), [(0, true, 0, vec![6.0, 0.5, 16.0, 0.5, 0.5, 0.5, 36.0])]);
    assert_eq!(with(Samples::Values(vec![nan; 5])), []);
}

#[test]
fn rates_that_do_not_divide_the_second() {
    for (rate, each) in [(62.5, [63, 62, 63, 62]), (360.0 / 7.0, [52, 51, 52, 51])] {
        let n = (4.0 * rate) as usize;
        // In frames of 40 ms, of 1 s and of 10 s: the same epochs.
        let mut shapes = Vec::new();
        for per_frame in [2, 62, n] {
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let frames: Vec<Frame> = values
                .chunks(per_frame)
                .enumerate()
                .map(|(i, v)| {
                    let mut f = ecg(i as u64, rate, 0, v);
                    let start = ms(0) + Span::from_seconds((i * per_frame) as f64 / rate);
                    (f.time, f.waves[0].start) = (start, start);
                    f
                })
                .collect();
            let b = flushed(&frames);
            b.sound();
            let got: Vec<usize> = b.samples();
            let close = got.iter().zip(each).all(|(a, b)| a.abs_diff(b) <= 1);
            assert!(close && got.len() == 4 && got.iter().sum::<usize>() == n, "{rate} Hz: {got:?}");
            assert!(b.runs().iter().skip(1).all(|r| !r.1 && r.2 == 0), "{rate} Hz in frames of {per_frame}");
            assert_eq!(b.timeline.counts.overlapping, 0);
            shapes.push(b.sealed.iter().map(|s| s.raw.clone()).collect::<Vec<_>>());
        }
        assert!(shapes.windows(2).all(|w| w[0] == w[1]), "{rate} Hz");
    }
}

#[test]
fn waves_may_start_after_their_frame() {
    let mut f = frame(0, 0);
    f.waves = vec![wave("ecg", 50.0, 1500, &[1.0, 2.0]), wave("ppg", 50.0, 20, &[3.0])];
    let b = flushed(&[f]);
    assert_eq!(b.starts(), [0, 1]);
    assert_eq!(b.runs(), [(20, true, 0, vec![3.0]), (1500, true, 0, vec![1.0, 2.0])]);
}

#[test]
fn out_of_order_within_the_lateness_is_as_in_order() {
    let second = |i: u64| {
        let mut f = ecg(i, 50.0, i as i64 * 1000, &[i as f32; 50]);
        f.observations = pulse(0, i as i64 * 1000, Some(60.0 + i as f64)).observations;
        f
    };
    let ordered: Vec<Frame> = (0..12).map(second).collect();
    let expected = flushed(&ordered);
    for order in [
        [1, 0, 2, 3, 5, 4, 6, 7, 9, 8, 10, 11],
        [2, 1, 0, 3, 4, 5, 7, 6, 8, 9, 11, 10],
        [1, 2, 0, 4, 3, 6, 5, 8, 7, 10, 9, 11],
    ] {
        let b = flushed(&order.map(second));
        assert!(b.fates.iter().all(|f| *f == Fate::Processed), "{order:?}: {:?}", b.fates);
        same(&b.sealed, &expected.sealed);
    }
    // One second more and it is late.
    let b = feed(&[0, 1, 2, 3, 5, 6, 7, 4].map(second));
    assert_eq!(b.fates.last(), Some(&Fate::Late));
}

#[test]
fn a_frame_that_is_partly_late_gives_its_rest() {
    let mut frames: Vec<Frame> = (0..5).map(|i| pulse(i, i as i64 * 1000, Some(60.0))).collect();
    frames.push(ecg(9, 50.0, 1000, &[1.0; 100]));
    let b = flushed(&frames);
    assert_eq!(b.fates[5], Fate::Processed);
    assert_eq!((b.timeline.counts.late, b.timeline.counts.taken), (50, 50));
    assert_eq!(b.runs()[0].0, 2000);
}

#[test]
fn the_end_of_a_last_sample_seals_nothing_ahead() {
    // 63 samples of 16 ms end 8 ms into the next second, of which nothing is known yet.
    let mut b = flushed(&[ecg(0, 62.5, 0, &[1.0; 63])]);
    assert_eq!(b.starts(), [0]);
    b.take(&ecg(1, 62.5, 1008, &[2.0; 62]), 1);
    assert_eq!((b.fates[1], b.timeline.counts.late), (Fate::Processed, 0));
    // And a frame of which only that end reaches beyond is late.
    b.timeline.seal_all(&mut b.sealed);
    b.take(&ecg(2, 62.5, 1000, &[2.0; 63]), 2);
    assert_eq!(b.fates[2], Fate::Late);
}

#[test]
fn hours_of_silence_are_bounded() {
    let b = flushed(&[ecg(0, 50.0, 0, &[1.0; 50]), ecg(1, 50.0, 36_000_000, &[2.0; 50])]);
    let empty = limits::EMPTY_EPOCHS.max as usize;
    assert_eq!(b.sealed.len(), 1 + empty + 1);
    assert_eq!(b.starts()[empty], empty as i64);
    assert_eq!(b.starts().last(), Some(&36_000));
    assert!(b.runs()[1].1, "it starts anew");
    b.sound();
    // Numbers once an hour: the same, each time, and each in its own epoch.
    let b = flushed(&(0..5).map(|h| pulse(h, h as i64 * 3_600_000, Some(h as f64))).collect::<Vec<_>>());
    let told: Vec<(i64, f64)> = b
        .sealed
        .iter()
        .flat_map(|s| {
            s.observations.iter().map(|o| ((s.start - ms(0)).micros() / 3_600_000_000, o.value.unwrap()))
        })
        .collect();
    assert_eq!(told, (0..5).map(|h| (h, h as f64)).collect::<Vec<_>>());
    assert_eq!(b.sealed.len(), 5 + 4 * empty);
    b.sound();
}

#[test]
fn exactly_the_bound_of_empty_epochs_skips_nothing() {
    for (gap, skipped) in [(600, 0), (601, 0), (602, 1), (603, 2)] {
        let b = flushed(&[ecg(0, 50.0, 0, &[1.0; 50]), ecg(1, 50.0, gap * 1000, &[2.0; 50])]);
        assert_eq!(gap + 1 - b.sealed.len() as i64, skipped, "data {gap} s later");
    }
}

#[test]
fn a_clock_that_jumps_back_is_late_until_it_has_caught_up() {
    let mut frames: Vec<Frame> = (0..10).map(|i| ecg(i, 50.0, i as i64 * 1000, &[1.0; 50])).collect();
    frames.extend((0..10).map(|i| ecg(10 + i, 50.0, i as i64 * 1000 + 3000, &[2.0; 50])));
    let b = feed(&frames);
    let late = b.fates.iter().filter(|f| **f == Fate::Late).count();
    // Sealed up to 8 s: of 3 to 12 s, five seconds are late.
    assert_eq!(late, 5);
    b.sound();
}

#[test]
fn observations_alone_make_epochs() {
    let b = flushed(&[pulse(0, 400, Some(70.0)), pulse(1, 1400, None), pulse(2, 1500, Some(71.0))]);
    let each: Vec<usize> = b.sealed.iter().map(|s| s.observations.len()).collect();
    assert_eq!((b.starts(), each), (vec![0, 1], vec![1, 2]));
    // They are never late: they are told in the next epoch.
    let mut b = feed(&(0..8).map(|i| pulse(i, i as i64 * 1000, Some(60.0))).collect::<Vec<_>>());
    b.take(&pulse(20, 100, Some(55.0)), 8);
    assert_eq!(b.fates[8], Fate::Processed);
    let before = b.sealed.len();
    b.take(&pulse(21, 8000, Some(60.0)), 9);
    assert!(b.sealed[before].observations.iter().any(|o| o.value == Some(55.0)));
}

#[test]
fn what_comes_after_quiet_is_told_at_the_next_quiet() {
    let mut b = flushed(&[ecg(0, 50.0, 0, &[1.0; 50])]);
    assert_eq!(b.starts(), [0]);
    b.take(&pulse(1, 500, Some(70.0)), 1);
    b.timeline.seal_all(&mut b.sealed);
    assert_eq!(b.starts(), [0, 1]);
    assert_eq!(b.sealed[1].observations.len(), 1);
}

#[test]
fn when_all_sources_have_ended_all_is_sealed() {
    // The end comes at 1,500 ms: its epoch holds samples, so one more lets operators settle.
    let mut frames = vec![ecg(0, 50.0, 0, &[1.0; 75]), device(1, 1500, DeviceStatus::Ended)];
    let b = feed(&frames);
    assert_eq!((b.starts(), b.samples()), (vec![0, 1, 2], vec![50, 25, 0]));
    let ended: Vec<bool> = b.sealed.iter().map(|s| s.ended).collect();
    assert_eq!((ended, b.timeline.ended()), (vec![false, false, true], true));
    // A source that only commands does not matter, before or after.
    let desk = Frame {
        source: SourceId("desk".into()),
        commands: vec![Command {
            action: auscult_operators::signal::frame::Action::Acknowledge,
            rule: "r".into(),
            actor: "a".into(),
            for_s: 0.0,
        }],
        ..frame(0, 100)
    };
    frames.insert(1, desk);
    assert!(feed(&frames).sealed.last().unwrap().ended);
    // A second source that measures does.
    let other = Frame { source: SourceId("lab".into()), ..pulse(0, 200, Some(1.0)) };
    frames.insert(0, other.clone());
    let mut b = feed(&frames);
    assert!(!b.timeline.ended() && b.sealed.is_empty());
    b.take(&Frame { device: Some(DeviceStatus::Ended), observations: vec![], sequence: 1, ..other }, 9);
    assert!(b.sealed.last().unwrap().ended);
    // Whoever speaks again has not ended.
    b.take(&ecg(7, 50.0, 9000, &[1.0; 50]), 10);
    assert!(!b.timeline.ended());
}

#[test]
fn a_stuck_clock_does_not_fill_the_memory() {
    let cap = limits::PATIENT_PENDING_FRAMES.max;
    let mut b = feed(&[]);
    for i in 0..3 * cap {
        b.take(&pulse(i, 0, Some(60.0)), i as i64);
        assert!(b.timeline.pending.len() as u64 <= cap + 1);
    }
    assert_eq!(b.fates.iter().filter(|f| **f == Fate::Processed).count() as u64, 3 * cap);
    b.timeline.seal_all(&mut b.sealed);
    let told: usize = b.sealed.iter().map(|s| s.observations.len()).sum();
    assert_eq!(told as u64, 3 * cap);
    assert!(b.sealed.len() <= 4);
    b.sound();
}

#[test]
fn evidence_names_offsets_and_sequences() {
    let b = flushed(&[ecg(4, 50.0, 0, &[1.0; 100]), ecg(5, 50.0, 2000, &[1.0; 50])]);
    let evidence: Vec<_> = b.sealed.iter().map(|s| (s.evidence.offsets, s.evidence.sources[0].1)).collect();
    assert_eq!(evidence, [(Some((0, 0)), 4), (Some((0, 0)), 4), (Some((1, 1)), 5)]);
}

/// The same whether each epoch gets new memory or that of an epoch that was used.
#[test]
fn used_memory_leaves_nothing_behind() {
    let mut frames = Vec::new();
    for s in 0..12 {
        let n = s as u64;
        frames.push(ecg(4 * n, 50.0, 1000 * s, &vec![s as f32; 30 + 10 * (s % 3) as usize]));
        frames.push(pulse(4 * n + 1, 1000 * s + 300, Some(s as f64)));
        if s % 3 == 1 {
            frames.push(device(4 * n + 2, 1000 * s + 400, DeviceStatus::Standby));
        }
    }
    let fresh = format!("{:?}", feed(&frames).sealed.iter().collect::<Vec<_>>());
    let (mut timeline, mut sealed, mut seen) = (Timeline::default(), Epochs::default(), Vec::new());
    for (i, f) in frames.iter().enumerate() {
        if timeline.take(&Arc::new(f.clone()), i as i64) == Fate::Processed {
            timeline.seal_due(LATENESS, &mut sealed);
        }
        while !sealed.is_empty() {
            let epoch = sealed.remove(0);
            seen.push(format!("{epoch:?}"));
            sealed.give_back(epoch);
        }
    }
    assert!(seen.len() > 5);
    assert_eq!(format!("[{}]", seen.join(", ")), fresh);
}
