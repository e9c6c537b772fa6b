//! The JSON form of a frame: the same fields as the protobuf form, counts as an array of numbers.
//! In: UTF-8 JSON. Out: the wire frame. Unknown fields are refused, so that a typo is not silence.

use serde::Deserialize;

use super::{Reject, wire};

/// Parses bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<wire::Frame, Reject> {
    let json: JsonFrame = serde_json::from_slice(bytes).map_err(|e| {
        // The message of the parser may quote payload: only its place is safe to tell.
        let what = match e.classify() {
            serde_json::error::Category::Data => "a field is unknown, missing or of the wrong type",
            serde_json::error::Category::Eof => "the text ends too early",
            _ => "the text is not JSON",
        };
        Reject::new("not_json", format!("{what}, line {} column {}", e.line(), e.column()))
    })?;
    Ok(json.into_wire())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonFrame {
    #[serde(default)]
    patient: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    session: u64,
    #[serde(default)]
    sequence: u64,
    time_us: i64,
    #[serde(default)]
    waves: Vec<JsonWave>,
    #[serde(default)]
    observations: Vec<JsonObservation>,
    context: Option<JsonContext>,
    device: Option<JsonDevice>,
    #[serde(default)]
    commands: Vec<JsonCommand>,
    tick: Option<JsonTick>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonTick {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonWave {
    #[serde(default)]
    mdc: u32,
    #[serde(default)]
    label: String,
    unit: String,
    rate_hz: f64,
    #[serde(default)]
    start_us: i64,
    #[serde(default)]
    counts: Vec<i16>,
    #[serde(default)]
    scale: f64,
    #[serde(default)]
    offset: f64,
    missing_count: Option<i32>,
    /// `null` means "no sample".
    #[serde(default)]
    values: Vec<Option<f32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonObservation {
    #[serde(default)]
    mdc: u32,
    #[serde(default)]
    name: String,
    unit: String,
    value: Option<f64>,
    observed_at_us: Option<i64>,
    quality: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonContext {
    age_years: Option<f64>,
    pregnant: Option<bool>,
    on_oxygen: Option<bool>,
    spo2_scale: Option<u32>,
    consciousness: Option<JsonConsciousness>,
    sex_male: Option<bool>,
    observed_at_us: Option<i64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum JsonConsciousness {
    Alert,
    Confusion,
    Voice,
    Pain,
    Unresponsive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonDevice {
    state: JsonDeviceState,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum JsonDeviceState {
    Running,
    Disconnected,
    Standby,
    Ended,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCommand {
    action: JsonAction,
    rule: String,
    actor: String,
    #[serde(default)]
    for_s: f64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum JsonAction {
    Acknowledge,
    Pause,
}

impl JsonFrame {
    fn into_wire(self) -> wire::Frame {
        wire::Frame {
            patient: self.patient,
            source: self.source,
            session: self.session,
            sequence: self.sequence,
            time_us: self.time_us,
            waves: self.waves.into_iter().map(JsonWave::into_wire).collect(),
            observations: self.observations.into_iter().map(JsonObservation::into_wire).collect(),
            context: self.context.map(JsonContext::into_wire),
            device: self.device.map(|d| wire::Device { state: d.state as i32 }),
            commands: self
                .commands
                .into_iter()
                .map(|c| wire::Command {
                    action: c.action as i32,
                    rule: c.rule,
                    actor: c.actor,
                    for_s: c.for_s,
                })
                .collect(),
            tick: self.tick.map(|JsonTick {}| wire::Tick {}),
        }
    }
}

impl JsonWave {
    fn into_wire(self) -> wire::Wave {
        wire::Wave {
            mdc: self.mdc,
            label: self.label,
            unit: self.unit,
            rate_hz: self.rate_hz,
            start_us: self.start_us,
            counts: self.counts.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>().into(),
            scale: self.scale,
            offset: self.offset,
            missing_count: self.missing_count,
            values: self.values.into_iter().map(|v| v.unwrap_or(f32::NAN)).collect(),
        }
    }
}

impl JsonObservation {
    fn into_wire(self) -> wire::Observation {
        let Self { mdc, name, unit, value, observed_at_us, quality } = self;
        wire::Observation { mdc, name, unit, value, observed_at_us, quality }
    }
}

impl JsonContext {
    fn into_wire(self) -> wire::Context {
        wire::Context {
            age_years: self.age_years,
            pregnant: self.pregnant,
            on_oxygen: self.on_oxygen,
            spo2_scale: self.spo2_scale,
            consciousness: self.consciousness.map(|c| c as i32),
            sex_male: self.sex_male,
            observed_at_us: self.observed_at_us,
        }
    }
}
