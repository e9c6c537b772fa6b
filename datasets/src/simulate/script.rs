//! What happens to a simulated patient: a timeline of changes, and the scripts that are offered.
//! In: seconds from the start of the bed. Out: vital signs (per minute, mmHg, %, Celsius), rhythm and the
//! state of the sensors at that time: a pure function of time.

/// Vital signs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vitals {
    /// Beats per minute.
    pub heart_rate: f64,
    /// Systolic pressure, mmHg.
    pub systolic: f64,
    /// Diastolic pressure, mmHg.
    pub diastolic: f64,
    /// Breaths per minute.
    pub resp_rate: f64,
    /// Oxygen saturation, %.
    pub spo2: f64,
    /// Temperature, Celsius.
    pub temperature: f64,
}

impl Vitals {
    /// No change at all.
    pub const NONE: Vitals = vitals(0.0, 0.0, 0.0, 0.0, 0.0, 0.0);

    fn towards(self, to: Vitals, part: f64) -> Vitals {
        let mix = |a: f64, b: f64| a + (b - a) * part;
        vitals(
            mix(self.heart_rate, to.heart_rate),
            mix(self.systolic, to.systolic),
            mix(self.diastolic, to.diastolic),
            mix(self.resp_rate, to.resp_rate),
            mix(self.spo2, to.spo2),
            mix(self.temperature, to.temperature),
        )
    }

    /// The sum, kept within what the wave generators can draw.
    fn plus(self, shift: Vitals) -> Vitals {
        let diastolic = (self.diastolic + shift.diastolic).clamp(10.0, 150.0);
        vitals(
            (self.heart_rate + shift.heart_rate).clamp(15.0, 240.0),
            (self.systolic + shift.systolic).clamp(diastolic + 5.0, 260.0),
            diastolic,
            (self.resp_rate + shift.resp_rate).clamp(4.0, 60.0),
            (self.spo2 + shift.spo2).clamp(50.0, 100.0),
            (self.temperature + shift.temperature).clamp(32.0, 42.0),
        )
    }
}

const fn vitals(
    hr: f64,
    systolic: f64,
    diastolic: f64,
    resp_rate: f64,
    spo2: f64,
    temperature: f64,
) -> Vitals {
    Vitals { heart_rate: hr, systolic, diastolic, resp_rate, spo2, temperature }
}

/// What drives the ventricles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Sinus node, with respiratory arrhythmia.
    Sinus,
    /// Irregular, without P waves.
    AtrialFibrillation,
    /// Fast, regular and broad.
    VentricularTachycardia,
    /// Chaotic, without pulse.
    VentricularFibrillation,
    /// Nothing.
    Asystole,
}

/// What is wrong with the sensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sensors {
    /// The electrocardiogram's electrodes are off: no samples.
    pub lead_off: bool,
    /// The oximeter is off the finger: a flat line.
    pub probe_off: bool,
    /// The patient moves: artefacts.
    pub motion: bool,
    /// Nothing is sent at all.
    pub silent: bool,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Vital signs drift to the patient's usual ones plus this, in so many seconds.
    Drift(Vitals, f64),
    /// The rhythm changes.
    Rhythm(Rhythm),
    /// The sensors' state changes.
    Sensors(Sensors),
    /// Consciousness, as a code of the `consciousness` channel.
    Consciousness(u8),
    /// Oxygen is given or taken away.
    Oxygen(bool),
}

/// A change and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Seconds from the start.
    pub at_s: f64,
    /// What happens.
    pub change: Change,
}

/// A timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Name.
    pub name: &'static str,
    /// Changes in order of their time.
    pub steps: Vec<Step>,
    /// After so many seconds it begins again.
    pub repeat_s: Option<f64>,
}

/// How a patient is at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Vital signs.
    pub vitals: Vitals,
    /// Rhythm.
    pub rhythm: Rhythm,
    /// Sensors.
    pub sensors: Sensors,
    /// Code of the `consciousness` channel.
    pub consciousness: u8,
    /// Whether oxygen is given.
    pub on_oxygen: bool,
}

/// Names of the scripts, in the order in which a ward shows them.
pub const NAMES: [&str; 9] =
    ["steady", "sepsis", "hypoxia", "arrest", "tachycardia", "lead_off", "probe_off", "gap", "fibrillation"];

impl Script {
    /// The script of that name, beginning to act at `onset_s`, or `None` if there is none.
    ///
    /// ```
    /// use auscult_datasets::simulate::{Rhythm, Script, Vitals};
    /// let usual = Vitals {
    ///     heart_rate: 75.0, systolic: 120.0, diastolic: 75.0,
    ///     resp_rate: 14.0, spo2: 97.0, temperature: 36.8,
    /// };
    /// let script = Script::named("arrest", 60.0).unwrap();
    /// assert_eq!(script.state_at(0.0, &usual, false).vitals, usual);
    /// assert_eq!(script.state_at(150.0, &usual, false).rhythm, Rhythm::Asystole);
    /// assert!(Script::named("flu", 0.0).is_none());
    /// ```
    pub fn named(name: &str, onset_s: f64) -> Option<Script> {
        let name = NAMES.into_iter().find(|n| *n == name)?;
        let steps = steps_of(name).into_iter().map(|s| Step { at_s: s.at_s + onset_s, change: s.change });
        Some(Script { name, steps: steps.collect(), repeat_s: None })
    }

    /// Nothing happens.
    pub fn steady() -> Script {
        Script { name: "steady", steps: Vec::new(), repeat_s: None }
    }

    /// The same, beginning again every so many seconds.
    pub fn repeating(mut self, every_s: f64) -> Script {
        self.repeat_s = Some(every_s).filter(|s| *s > 0.0);
        self
    }

    /// The state at `t` seconds, for a patient with these usual vital signs.
    pub fn state_at(&self, t: f64, usual: &Vitals, usually_on_oxygen: bool) -> State {
        let t = self.repeat_s.map_or(t, |every| t.rem_euclid(every));
        let mut shift = Vitals::NONE;
        let mut state = State {
            vitals: *usual,
            rhythm: Rhythm::Sinus,
            sensors: Sensors::default(),
            consciousness: 0,
            on_oxygen: usually_on_oxygen,
        };
        for step in self.steps.iter().take_while(|s| s.at_s <= t) {
            match step.change {
                Change::Drift(to, over_s) => {
                    shift = shift.towards(to, ((t - step.at_s) / over_s.max(1e-3)).clamp(0.0, 1.0));
                }
                Change::Rhythm(rhythm) => state.rhythm = rhythm,
                Change::Sensors(sensors) => state.sensors = sensors,
                Change::Consciousness(code) => state.consciousness = code,
                Change::Oxygen(given) => state.on_oxygen = given,
            }
        }
        state.vitals = usual.plus(shift);
        state
    }
}

const fn step(at_s: f64, change: Change) -> Step {
    Step { at_s, change }
}

const OFF: Sensors = Sensors { lead_off: false, probe_off: false, motion: false, silent: false };
const MOTION: Sensors = Sensors { motion: true, ..OFF };

/// Steps with times from the onset. Every script ends with the patient well again.
fn steps_of(name: &str) -> Vec<Step> {
    use Change::{Consciousness, Drift, Oxygen};
    const ILL: Vitals = vitals(48.0, -42.0, -24.0, 13.0, -7.0, 2.1);
    const HYPOXIC: Vitals = vitals(28.0, 12.0, 6.0, 12.0, -16.0, 0.0);
    const SLOW: Vitals = vitals(-45.0, -35.0, -20.0, -4.0, -4.0, 0.0);
    const FAST: Vitals = vitals(100.0, -45.0, -15.0, 6.0, -3.0, 0.0);
    const PULSELESS: Vitals = vitals(0.0, -60.0, -45.0, -6.0, -8.0, 0.0);
    const FLUTTERING: Vitals = vitals(45.0, -10.0, 0.0, 2.0, -1.0, 0.0);
    match name {
        "sepsis" => vec![
            step(0.0, Drift(ILL, 420.0)),
            step(300.0, Consciousness(1)),
            step(480.0, Oxygen(true)),
            step(720.0, Drift(Vitals::NONE, 420.0)),
            step(1_080.0, Consciousness(0)),
            step(1_140.0, Oxygen(false)),
        ],
        "hypoxia" => vec![
            step(0.0, Drift(HYPOXIC, 90.0)),
            step(210.0, Oxygen(true)),
            step(210.0, Drift(Vitals::NONE, 120.0)),
            step(600.0, Oxygen(false)),
        ],
        "arrest" => vec![
            step(0.0, Drift(SLOW, 60.0)),
            step(80.0, Change::Rhythm(Rhythm::Asystole)),
            step(80.0, Consciousness(4)),
            step(125.0, Change::Rhythm(Rhythm::Sinus)),
            step(125.0, Drift(Vitals::NONE, 90.0)),
            step(240.0, Consciousness(0)),
        ],
        "tachycardia" => vec![
            step(0.0, Drift(FAST, 1.0)),
            step(0.0, Change::Rhythm(Rhythm::VentricularTachycardia)),
            step(45.0, Change::Rhythm(Rhythm::Sinus)),
            step(45.0, Drift(Vitals::NONE, 20.0)),
        ],
        "lead_off" => vec![
            step(0.0, Change::Sensors(MOTION)),
            step(8.0, Change::Sensors(Sensors { lead_off: true, ..OFF })),
            step(70.0, Change::Sensors(OFF)),
        ],
        "probe_off" => vec![
            step(0.0, Change::Sensors(MOTION)),
            step(25.0, Change::Sensors(Sensors { probe_off: true, ..OFF })),
            step(100.0, Change::Sensors(OFF)),
        ],
        "gap" => {
            vec![
                step(0.0, Change::Sensors(Sensors { silent: true, ..OFF })),
                step(75.0, Change::Sensors(OFF)),
            ]
        }
        "fibrillation" => vec![
            step(0.0, Change::Rhythm(Rhythm::AtrialFibrillation)),
            step(0.0, Drift(FLUTTERING, 10.0)),
            step(240.0, Drift(PULSELESS, 5.0)),
            step(240.0, Change::Rhythm(Rhythm::VentricularFibrillation)),
            step(275.0, Change::Rhythm(Rhythm::Sinus)),
            step(275.0, Drift(Vitals::NONE, 60.0)),
        ],
        _ => Vec::new(),
    }
}
