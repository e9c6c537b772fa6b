//! Synthetic patients for the conformance suite: waves that come and go, and everything that can be wrong with them.
//! In: a seed, a length in seconds, whether samples may be hostile. Out: sealed epochs, the same for the same seed.

use auscult_operators::signal::{
    ChannelId, Epoch, EventTime, Hertz, Kind, Observed, Origin, Run, Span, Values,
};

/// A small generator (SplitMix64): the suite needs the same scenario on every machine, not good randomness.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
    /// From -1 to 1.
    pub fn noise(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// A run that owns its samples.
pub struct OwnedRun {
    channel: ChannelId,
    rate: f64,
    start: EventTime,
    reset: bool,
    raw: Vec<f32>,
    clean: Vec<f32>,
    bridged: usize,
}

impl OwnedRun {
    fn view(&self) -> Run<'_> {
        let &OwnedRun { channel, rate, start, reset, ref raw, ref clean, bridged } = self;
        Run { channel, rate: Hertz(rate), start, reset, raw, clean, bridged }
    }
}

/// One second of a scenario.
pub struct Second {
    start: EventTime,
    runs: Vec<OwnedRun>,
    values: Values,
}

impl Second {
    /// Shows the second as an operator sees it.
    pub fn with<T>(&self, show: impl FnOnce(&Epoch<'_>) -> T) -> T {
        let runs: Vec<Run<'_>> = self.runs.iter().map(OwnedRun::view).collect();
        show(&Epoch { start: self.start, runs: &runs, values: &self.values })
    }
    pub fn end(&self) -> EventTime {
        self.start + Span::EPOCH
    }
    pub fn start(&self) -> EventTime {
        self.start
    }
    pub fn samples(&self) -> usize {
        self.runs.iter().map(|r| r.raw.len()).sum()
    }
}

/// How the samples of a stretch are spoilt.
#[derive(Clone, Copy)]
enum Mood {
    Living,
    Noisy,
    Flat,
    Railed,
    Huge,
    Tiny,
    Steps,
}

/// One channel as it goes through the scenario.
struct Stream {
    channel: ChannelId,
    rate: f64,
    /// Start of the grid, and the number of its next sample.
    grid: EventTime,
    index: i64,
    silent_s: usize,
    fresh: bool,
    mood: Mood,
    mood_s: usize,
    per_minute: f64,
    phase: f64,
    slow: f32,
    level: f32,
}

const CHANNELS: [(&str, f64); 10] = [
    ("ecg_ii", 250.0),
    ("ecg_v1", 250.0),
    ("ppg", 125.0),
    ("abp", 125.0),
    ("art", 100.0),
    ("resp", 62.5),
    ("cvp", 50.0),
    ("co2", 20.0),
    ("eeg_1", 256.0),
    ("acc_x", 32.0),
];
const RATES: [f64; 9] = [1.0, 25.0, 50.0, 62.5, 100.0, 125.0, 250.0, 360.0, 500.0];

/// The bed of the performance goal: two ECG leads, PPG, arterial pressure, respiration; nothing ever wrong.
pub fn plain_bed(seconds: usize) -> Vec<Second> {
    let beds = [("ecg_ii", 250.0), ("ecg_v1", 250.0), ("ppg", 125.0), ("abp", 125.0), ("resp", 62.5)];
    build(7, seconds, &beds, false, false)
}

/// A scenario with gaps, resets, changes of rate, flat, railed and noisy stretches; with `hostile` also with
/// numbers at the end of what a float holds.
pub fn scenario(seed: u64, seconds: usize, hostile: bool) -> Vec<Second> {
    build(seed, seconds, &CHANNELS, true, hostile)
}

fn build(seed: u64, seconds: usize, channels: &[(&str, f64)], trouble: bool, hostile: bool) -> Vec<Second> {
    let mut dice = Dice::new(seed);
    let first = EventTime::from_seconds(1_700_000_000 + dice.below(1000) as i64);
    let mut streams: Vec<Stream> =
        channels.iter().map(|&(name, rate)| stream(name, rate, first, &mut dice)).collect();
    streams.sort_by_key(|s| s.channel);
    let mut values = Values::default();
    let second = |s: usize| {
        let start = first + Span::seconds_const(s as i64);
        let mut runs = vec![];
        for stream in &mut streams {
            if trouble {
                upset(stream, hostile, &mut dice);
            }
            fill(stream, start, trouble, &mut dice, &mut runs);
        }
        observe(&mut values, start, trouble, &mut dice);
        Second { start, runs, values: values.clone() }
    };
    (0..seconds).map(second).collect()
}

fn stream(name: &str, rate: f64, first: EventTime, dice: &mut Dice) -> Stream {
    let channel = ChannelId::named(name).unwrap();
    let slow = channel.row().kind == Kind::Respiration || channel.row().kind == Kind::Capnogram;
    let per_minute = if slow { 12.0 + dice.below(12) as f64 } else { 60.0 + dice.below(40) as f64 };
    Stream {
        channel,
        rate,
        grid: first,
        index: 0,
        silent_s: 0,
        fresh: true,
        mood: Mood::Living,
        mood_s: 0,
        per_minute,
        phase: 0.0,
        slow: 0.0,
        level: 0.0,
    }
}

/// Rolls what happens to a stream this second.
fn upset(stream: &mut Stream, hostile: bool, dice: &mut Dice) {
    if stream.silent_s == 0 && dice.chance(25) {
        stream.silent_s = 1 + dice.below(12);
    }
    if stream.mood_s > 0 {
        stream.mood_s -= 1;
    } else {
        let kinds = if hostile { 7 } else { 5 };
        stream.mood = match if dice.chance(4) { dice.below(kinds) } else { 6 } {
            0 => Mood::Noisy,
            1 => Mood::Flat,
            2 => Mood::Railed,
            3 => Mood::Steps,
            4 if hostile => Mood::Huge,
            5 => Mood::Tiny,
            _ => Mood::Living,
        };
        stream.mood_s = 2 + dice.below(10);
    }
}

/// Appends this second's runs of a stream: none, one, or two with a gap between them.
fn fill(stream: &mut Stream, start: EventTime, trouble: bool, dice: &mut Dice, runs: &mut Vec<OwnedRun>) {
    if stream.silent_s > 0 {
        stream.silent_s -= 1;
        stream.fresh = true;
        return;
    }
    let mut from = start;
    if stream.fresh {
        if trouble && dice.chance(3) {
            stream.rate = RATES[dice.below(RATES.len())];
        }
        let shift = if trouble { dice.below(700_000) as i64 } else { 0 };
        from = EventTime::from_micros(start.micros() + shift);
        (stream.grid, stream.index) = (from, 0);
    }
    let end = start + Span::EPOCH;
    if trouble && dice.chance(20) {
        let gap = EventTime::from_micros(from.micros() + (end - from).micros() * 2 / 5);
        let back = EventTime::from_micros(from.micros() + (end - from).micros() * 3 / 5);
        runs.extend(piece(stream, gap, trouble, dice));
        (stream.grid, stream.index, stream.fresh) = (back, 0, true);
    }
    runs.extend(piece(stream, end, trouble, dice));
}

/// Samples of the stream's grid up to `end`.
fn piece(stream: &mut Stream, end: EventTime, trouble: bool, dice: &mut Dice) -> Option<OwnedRun> {
    let at = |index: i64, s: &Stream| s.grid.micros() + (index as f64 * 1e6 / s.rate).round() as i64;
    let start = EventTime::from_micros(at(stream.index, stream));
    let (mut raw, mut clean) = (vec![], vec![]);
    while at(stream.index, stream) < end.micros() {
        let x = sample(stream, trouble, dice);
        stream.slow += (x.clamp(-1e30, 1e30) - stream.slow) * (3.0 / stream.rate as f32).min(1.0);
        let y = x - stream.slow;
        raw.push(x);
        clean.push(if y.is_finite() { y } else { 0.0 });
        stream.index += 1;
    }
    let reset = std::mem::take(&mut stream.fresh);
    let bridged = if dice.chance(10) { dice.below(raw.len().max(1)) } else { 0 };
    let run = OwnedRun { channel: stream.channel, rate: stream.rate, start, reset, raw, clean, bridged };
    if run.raw.is_empty() {
        stream.fresh = reset;
        return None;
    }
    Some(run)
}

fn sample(stream: &mut Stream, trouble: bool, dice: &mut Dice) -> f32 {
    stream.phase = (stream.phase + stream.per_minute / 60.0 / stream.rate).fract();
    let turn = stream.phase as f32;
    let bump = |at: f32, width: f32| bell(-((turn - at) / width) * ((turn - at) / width));
    let alive = match stream.channel.row().kind {
        Kind::Ecg => 1.2 * bump(0.3, 0.02) + 0.25 * bump(0.6, 0.08),
        Kind::Ppg => bump(0.3, 0.1) + 0.3 * bump(0.6, 0.1),
        // Now and then the line is touched.
        Kind::Pressure if trouble && dice.chance(300) => 45.0,
        Kind::Pressure => 70.0 + 50.0 * bump(0.25, 0.12) + 12.0 * bump(0.55, 0.1),
        Kind::VenousPressure => 8.0 + 3.0 * bump(0.4, 0.1),
        Kind::Capnogram => {
            if turn < 0.5 {
                38.0
            } else {
                0.0
            }
        }
        Kind::Eeg => 30.0 * dice.noise(),
        _ => bump(0.5, 0.25),
    };
    let alive = alive + 0.01 * dice.noise();
    match stream.mood {
        Mood::Living => alive,
        Mood::Noisy => alive + 2.0 * dice.noise(),
        Mood::Flat => stream.level,
        Mood::Railed => alive.clamp(0.2, 0.5),
        Mood::Huge => [f32::MAX, f32::MIN, 1e30, -1e12, 0.0, f32::MAX][dice.below(6)],
        Mood::Tiny => f32::MIN_POSITIVE * dice.noise(),
        Mood::Steps => {
            if dice.chance(60) {
                stream.level = 100.0 * dice.noise();
            }
            stream.level
        }
    }
}

/// `(1 + x/256)^256`: near enough to an exponential for a bump, and the same on every machine.
fn bell(x: f32) -> f32 {
    (0..8).fold((1.0 + x / 256.0).max(0.0), |y, _| y * y)
}

/// Numerics, laboratory values and context that come and go, at times at the end of their range.
fn observe(values: &mut Values, now: EventTime, trouble: bool, dice: &mut Dice) {
    for id in ChannelId::all().filter(|id| !id.row().kind.is_wave()) {
        let vital = matches!(id.row().name, "heart_rate" | "resp_rate" | "spo2" | "abp_mean" | "pulse_rate");
        if !dice.chance(if vital { 2 } else { 40 }) {
            continue;
        }
        if trouble && dice.chance(30) {
            values.clear(id, now);
            continue;
        }
        let (low, high) = id.row().plausible;
        let part = match dice.below(10) {
            0 if trouble => 0.0,
            1 if trouble => 1.0,
            _ => 0.4 + 0.1 * f64::from(dice.noise()),
        };
        let hold = id.row().hold.micros().min(20_000_000);
        let observed_at = EventTime::from_micros(now.micros() + dice.below(1_000_000) as i64);
        let valid_until = EventTime::from_micros(observed_at.micros() + 1 + dice.below(hold as usize) as i64);
        let origin = if dice.chance(3) { Origin::Derived } else { Origin::Reported };
        let value = low + part * (high - low);
        let quality = if trouble { dice.below(101) as f32 / 100.0 } else { 1.0 };
        values.store(id, Observed { value, observed_at, valid_until, quality, origin });
    }
}
