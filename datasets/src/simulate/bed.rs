//! One simulated bed: a frame a second of all its channels, and the truth behind it.
//! In: a seed, a profile with its script. Out: frames with two ECG leads at 250 Hz, pleth and arterial
//! pressure at 125 Hz, impedance at 62.5 Hz, values, and [`Truth`].

use auscult_operators::signal::frame::{DeviceStatus, Samples, Wave};
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, PatientId, SourceId, Span};

use super::Draw;
use super::charted::{Channels, Now};
use super::heart::{Heart, Shape};
use super::lungs::Lungs;
use super::script::{Rhythm, Script, Sensors, State, Vitals};
use super::shapes::{Shapes, shapes};
use super::waves::{ABP_SCALE, ECG_HZ, ECG_SCALE, MISSING, PPG_SCALE, PULSE_HZ, RESP_HZ, RESP_SCALE, Second};

/// Beats and breaths are known this far ahead of the second that is drawn, in seconds.
const AHEAD_S: f64 = 2.5;
/// The iterator ends after so many seconds without a frame: the script has gone silent for good.
const LONGEST_SILENCE_S: u64 = 86_400;

/// Who the patient is and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Usual vital signs.
    pub usual: Vitals,
    /// Age in years.
    pub age_years: f64,
    /// Whether the patient is male.
    pub male: bool,
    /// Whether oxygen is given from the start.
    pub on_oxygen: bool,
    /// Whether an arterial line is in.
    pub has_abp: bool,
    /// Part of beats that are followed by an early ventricular one.
    pub ectopy: f64,
    /// Noise of the electrocardiogram, mV.
    pub noise_mv: f64,
    /// Seconds from one charting of temperature, cuff pressure, consciousness and oxygen to the next; a
    /// patient who gets worse is charted five times as often.
    pub charted_every_s: u64,
    /// What happens.
    pub script: Script,
}

impl Default for Profile {
    fn default() -> Self {
        let usual = Vitals {
            heart_rate: 76.0,
            systolic: 120.0,
            diastolic: 75.0,
            resp_rate: 15.0,
            spo2: 97.0,
            temperature: 36.8,
        };
        Self {
            usual,
            age_years: 60.0,
            male: true,
            on_oxygen: false,
            has_abp: true,
            ectopy: 0.0,
            noise_mv: 0.012,
            charted_every_s: 900,
            script: Script::steady(),
        }
    }
}

/// One true beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrueBeat {
    /// Time of the R wave.
    pub time: EventTime,
    /// Whether it comes from the ventricle.
    pub ventricular: bool,
}

/// What really was, in the second of the last frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Start of the second.
    pub second: EventTime,
    /// Beats whose R wave lies in it.
    pub beats: Vec<TrueBeat>,
    /// Ends of inspiration that lie in it.
    pub breaths: Vec<EventTime>,
    /// Vital signs at its start.
    pub vitals: Vitals,
    /// Rhythm at its start.
    pub rhythm: Rhythm,
    /// Sensors at its start.
    pub sensors: Sensors,
}

/// A bed. As an iterator it never ends by itself, unless its script falls silent for a day.
///
/// ```
/// use auscult_datasets::simulate::{Profile, SimulatedBed};
/// let mut bed = SimulatedBed::new(7, Profile::default());
/// let first = bed.next().unwrap();
/// let names: Vec<_> = first.waves.iter().map(|w| w.channel.row().name).collect();
/// assert_eq!(names, ["ecg_ii", "ecg_v5", "ppg", "abp", "resp"]);
/// assert_eq!(first, SimulatedBed::new(7, Profile::default()).next().unwrap());
/// assert!(!bed.truth().beats.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedBed {
    profile: Profile,
    patient: PatientId,
    source: SourceId,
    session: u64,
    start: EventTime,
    second: u64,
    next_sequence: u64,
    heart: Heart,
    lungs: Lungs,
    draw: Draw,
    /// Phases of the slow sway of heart rate and pressure.
    sway: [f64; 3],
    truth: Truth,
    wave_channels: [Option<ChannelId>; 5],
    channels: Channels,
    shapes: &'static Shapes,
}

impl SimulatedBed {
    /// A bed at 2025-01-01T00:00:00Z whose patient is named after the seed.
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut draw = Draw::new(seed, 0);
        let start = EventTime::from_seconds(1_735_689_600);
        let truth = Truth {
            second: start,
            beats: Vec::with_capacity(8),
            breaths: Vec::with_capacity(2),
            vitals: profile.usual,
            rhythm: Rhythm::Sinus,
            sensors: Sensors::default(),
        };
        Self {
            patient: PatientId::new(&format!("sim-{seed}")),
            source: SourceId(format!("simulator-{seed}").into()),
            session: 1,
            start,
            second: 0,
            next_sequence: 0,
            heart: Heart::new(Draw::new(seed, 1), profile.ectopy),
            lungs: Lungs::new(Draw::new(seed, 2)),
            sway: [draw.uniform(), draw.uniform(), draw.uniform()],
            draw,
            truth,
            wave_channels: ["ecg_ii", "ecg_v5", "ppg", "abp", "resp"].map(ChannelId::named),
            channels: Channels::find(),
            shapes: shapes(),
            profile,
        }
    }

    /// The same bed under that identity.
    pub fn named(mut self, patient: PatientId, source: SourceId, session: u64) -> Self {
        (self.patient, self.source, self.session) = (patient, source, session);
        self
    }

    /// The same bed with its first second at `start`, which is put on a whole second.
    pub fn starting(mut self, start: EventTime) -> Self {
        self.start = start.epoch_start();
        self
    }

    /// Who the patient is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Pseudonymous id of the patient.
    pub fn patient(&self) -> &PatientId {
        &self.patient
    }

    /// Event time of the next second.
    pub fn next_time(&self) -> EventTime {
        self.start + Span::from_micros(Span::EPOCH.micros() * self.second as i64)
    }

    /// What really was in the second generated last.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The next second; `None` if nothing is sent in it.
    pub fn next_second(&mut self) -> Option<Frame> {
        let mut frame = self.empty_frame();
        self.fill(&mut frame).then_some(frame)
    }

    /// The same into a frame whose memory is used again. Returns whether anything is sent in this second.
    ///
    /// ```
    /// use auscult_datasets::simulate::{Profile, SimulatedBed};
    /// let mut bed = SimulatedBed::new(7, Profile::default());
    /// let mut frame = bed.next_second().unwrap();
    /// assert!(bed.fill(&mut frame));
    /// assert_eq!(frame.sequence, 1);
    /// ```
    pub fn fill(&mut self, frame: &mut Frame) -> bool {
        let (second, time) = (self.second, self.next_time());
        self.second += 1;
        let now = second as f64;
        let (profile, sway) = (&self.profile, self.sway);
        let state = |t: f64| state_of(profile, sway, t);
        self.lungs.advance(now, now + AHEAD_S + 1.0, |t| state(t).vitals.resp_rate);
        let (lungs, shapes) = (&self.lungs, self.shapes);
        self.heart.advance(now, now + AHEAD_S, state, |t| lungs.level(t, shapes));
        let state = state_of(&self.profile, self.sway, now);
        // Drawn in every second, sent or not, so that what comes after a gap does not depend on it.
        let entry = self.draw.bits();
        self.note_truth(second, time, &state);
        if state.sensors.silent {
            return false;
        }
        frame.time = time;
        frame.sequence = self.next_sequence;
        frame.device = (self.next_sequence == 0).then_some(DeviceStatus::Running);
        self.next_sequence += 1;
        frame.observations.clear();
        let values = Now {
            channels: &self.channels,
            heart: &self.heart,
            lungs: &self.lungs,
            state,
            profile: &self.profile,
            second,
            time,
        };
        values.observe(&mut frame.observations);
        self.draw_waves(frame, second, time, state, entry);
        true
    }

    /// The frame that says that nothing more comes, at the end of the second generated last.
    pub fn end(&mut self) -> Frame {
        let mut frame = self.empty_frame();
        frame.time = self.next_time();
        frame.sequence = self.next_sequence;
        frame.device = Some(DeviceStatus::Ended);
        self.next_sequence += 1;
        frame
    }

    fn empty_frame(&self) -> Frame {
        Frame {
            patient: self.patient.clone(),
            source: self.source.clone(),
            session: self.session,
            sequence: 0,
            time: self.start,
            waves: Vec::with_capacity(5),
            observations: Vec::with_capacity(16),
            device: None,
            commands: Vec::new(),
        }
    }

    fn draw_waves(&self, frame: &mut Frame, second: u64, time: EventTime, state: State, entry: u64) {
        let s = Second {
            shapes: self.shapes,
            heart: &self.heart,
            lungs: &self.lungs,
            state,
            second,
            entry,
            noise_mv: self.profile.noise_mv as f32,
            chest: Second::chest_of(&self.lungs, self.shapes, second),
        };
        // The buffers of the last second are filled again.
        let mut old = std::mem::take(&mut frame.waves).into_iter().map(|w| match w.samples {
            Samples::Counts { counts, .. } => counts,
            Samples::Values(_) => Vec::new(),
        });
        let mut waves = Vec::with_capacity(5);
        for (i, channel) in self.wave_channels.iter().enumerate() {
            let Some(channel) = *channel else { continue };
            if i == 3 && !self.profile.has_abp {
                continue;
            }
            let mut counts = old.next().unwrap_or_else(|| Vec::with_capacity(250));
            let mut start = time;
            let (rate, scale, offset) = match i {
                0 | 1 => {
                    s.ecg(i, &mut counts);
                    (ECG_HZ, ECG_SCALE, 0.0)
                }
                2 => {
                    s.ppg(&mut counts);
                    (PULSE_HZ, PPG_SCALE, 0.0)
                }
                3 => {
                    s.abp(&mut counts);
                    (PULSE_HZ, ABP_SCALE, 0.0)
                }
                _ => {
                    let first = s.resp(&mut counts);
                    // 16 ms from sample to sample.
                    start = self.start + Span::from_micros(first as i64 * 16_000);
                    (RESP_HZ, RESP_SCALE, 0.0)
                }
            };
            let samples = Samples::Counts { counts, scale, offset, missing: Some(MISSING) };
            waves.push(Wave { channel, rate: Hertz(rate), start, samples });
        }
        frame.waves = waves;
    }

    fn note_truth(&mut self, second: u64, time: EventTime, state: &State) {
        let (from, to) = (second as f64, second as f64 + 1.0);
        let at = |t: f64| self.start + Span::from_seconds(t);
        let t = &mut self.truth;
        (t.second, t.vitals, t.rhythm, t.sensors) = (time, state.vitals, state.rhythm, state.sensors);
        t.beats.clear();
        t.breaths.clear();
        let beats = self.heart.beats().iter().rev().skip_while(|b| b.at >= to).take_while(|b| b.at >= from);
        t.beats.extend(beats.map(|b| TrueBeat { time: at(b.at), ventricular: b.shape == Shape::Broad }));
        t.beats.reverse();
        let breaths = self.lungs.breaths().rev().map(|b| b.top());
        t.breaths.extend(breaths.skip_while(|b| *b >= to).take_while(|b| *b >= from).map(at));
    }
}

/// The script's state with the slow sway that every patient shows: minutes for the heart rate, 10 s for the
/// pressure (Mayer waves).
fn state_of(profile: &Profile, sway: [f64; 3], t: f64) -> State {
    let mut state = profile.script.state_at(t, &profile.usual, profile.on_oxygen);
    let shapes = shapes();
    let sine = |period_s: f64, phase: f64| f64::from(shapes.sine(t / period_s + phase));
    let v = &mut state.vitals;
    v.heart_rate *= 1.0 + 0.02 * sine(97.0, sway[0]) + 0.01 * sine(31.0, sway[1]);
    let mayer = 2.0 * sine(10.3, sway[2]) + 2.0 * sine(170.0, sway[1]);
    v.systolic += mayer;
    v.diastolic += 0.5 * mayer;
    state
}

impl Iterator for SimulatedBed {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        (0..LONGEST_SILENCE_S).find_map(|_| self.next_second())
    }
}
