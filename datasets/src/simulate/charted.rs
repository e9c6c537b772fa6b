//! Values of a simulated bed: what the monitor shows each second, and what is charted now and then.
//! In: beats, breaths, the script's state. Out: observations in canonical units, rounded as monitors round.

use auscult_operators::signal::frame::Observation;
use auscult_operators::signal::{ChannelId, EventTime};

use super::bed::Profile;
use super::heart::Heart;
use super::lungs::Lungs;
use super::script::State;

/// Seconds from one saturation, pulse rate and breathing rate to the next.
const SLOW_NUMERIC_S: u64 = 2;
/// How many times as often a patient is charted who has got worse.
const WORSE_OFTENER: u64 = 5;
/// Seconds from one statement of age and sex to the next.
const PERSON_S: u64 = 3_600;

/// Channels of the values, looked up once.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    heart_rate: Option<ChannelId>,
    pulse_rate: Option<ChannelId>,
    resp_rate: Option<ChannelId>,
    spo2: Option<ChannelId>,
    abp: [Option<ChannelId>; 3],
    nibp: [Option<ChannelId>; 3],
    temperature: Option<ChannelId>,
    consciousness: Option<ChannelId>,
    on_oxygen: Option<ChannelId>,
    age: Option<ChannelId>,
    sex_male: Option<ChannelId>,
}

impl Channels {
    /// Looks the channels up.
    pub fn find() -> Self {
        let named = ChannelId::named;
        Self {
            heart_rate: named("heart_rate"),
            pulse_rate: named("pulse_rate"),
            resp_rate: named("resp_rate"),
            spo2: named("spo2"),
            abp: [named("abp_sys"), named("abp_dia"), named("abp_mean")],
            nibp: [named("nibp_sys"), named("nibp_dia"), named("nibp_mean")],
            temperature: named("temperature"),
            consciousness: named("consciousness"),
            on_oxygen: named("on_oxygen"),
            age: named("age"),
            sex_male: named("sex_male"),
        }
    }
}

/// Everything that the values of one second depend on.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// Channels.
    pub channels: &'a Channels,
    /// Beats.
    pub heart: &'a Heart,
    /// Breaths.
    pub lungs: &'a Lungs,
    /// Script's state.
    pub state: State,
    /// Who the patient is.
    pub profile: &'a Profile,
    /// Number of the second.
    pub second: u64,
    /// Event time of the second.
    pub time: EventTime,
}

impl Now<'_> {
    /// Whether a nurse would look in more often.
    fn is_worse(&self) -> bool {
        let (now, usual) = (&self.state.vitals, &self.profile.usual);
        let worse = |now: f64, usual: f64, by: f64| (now - usual).abs() > by;
        self.state.consciousness > 0
            || worse(now.heart_rate, usual.heart_rate, 18.0)
            || worse(now.systolic, usual.systolic, 20.0)
            || worse(now.spo2, usual.spo2, 4.0)
            || worse(now.resp_rate, usual.resp_rate, 6.0)
    }

    /// Adds the values of this second.
    pub fn observe(&self, out: &mut Vec<Observation>) {
        let mut put = |channel: Option<ChannelId>, value: Option<f64>| {
            if let Some(channel) = channel {
                out.push(Observation { channel, observed_at: self.time, value, quality: 1.0 });
            }
        };
        let (c, s) = (self.channels, &self.state);
        let t = self.second as f64;
        let rate = self.heart.measured_rate(t);
        put(c.heart_rate, (!s.sensors.lead_off).then(|| rate.round()));
        let pressure = self.heart.measured_pressure(t).map(|p| [p.0, p.1, p.2]);
        if self.profile.has_abp {
            for (i, &channel) in c.abp.iter().enumerate() {
                put(channel, pressure.map(|p| p[i].round()));
            }
        }
        if self.second.is_multiple_of(SLOW_NUMERIC_S) {
            // An oximeter needs a pulse, and a moving hand makes it read low.
            let pulse = !s.sensors.probe_off && rate > 0.0;
            let low = if s.sensors.motion { 4.0 } else { 0.0 };
            put(c.spo2, pulse.then(|| (s.vitals.spo2 - low).round().min(100.0)));
            put(c.pulse_rate, pulse.then(|| rate.round()));
            put(c.resp_rate, self.lungs.measured_rate(t).map(f64::round));
        }
        let charted = (self.profile.charted_every_s / if self.is_worse() { WORSE_OFTENER } else { 1 }).max(1);
        if self.second.is_multiple_of(charted) {
            if rate > 0.0 {
                for (i, &channel) in c.nibp.iter().enumerate() {
                    put(channel, pressure.map(|p| p[i].round()));
                }
            }
            put(c.temperature, Some((s.vitals.temperature * 10.0).round() / 10.0));
            put(c.consciousness, Some(f64::from(s.consciousness)));
            put(c.on_oxygen, Some(f64::from(u8::from(s.on_oxygen))));
        }
        if self.second.is_multiple_of(PERSON_S) {
            put(c.age, Some(self.profile.age_years));
            put(c.sex_male, Some(f64::from(u8::from(self.profile.male))));
        }
    }
}
