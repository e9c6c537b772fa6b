//! What every operator must keep, as checks that say what is wrong instead of panicking.
//! In: a card and a seed. Out: nothing, or one line that names the second and the reading at fault.

use std::panic::{AssertUnwindSafe, catch_unwind};

use auscult_operators::operator::{Operator, Spec};
use auscult_operators::registry::OPERATORS;
use auscult_operators::signal::{Beat, BeatClass, ClassedBeat, Reading, Readings};

use crate::scenario::{Second, scenario};

/// Length of a scenario (s).
pub const SECONDS: usize = 90;

type Outcome = Result<(), String>;

/// An operator with its defaults.
pub fn fresh(spec: &Spec) -> Result<Box<dyn Operator>, String> {
    (spec.build)(&(spec.defaults)()).map_err(|e| format!("{}: defaults are refused: {e}", spec.name))
}

/// What the operators before this one in graph order say of each second.
pub fn upstream(spec: &Spec, seconds: &[Second]) -> Result<Vec<Readings>, String> {
    let before = OPERATORS.iter().take_while(|s| s.name != spec.name);
    let mut chain = before.map(|s| fresh(s)).collect::<Result<Vec<_>, _>>()?;
    let mut said = vec![];
    for second in seconds {
        let mut out = Readings::default();
        for operator in &mut chain {
            second.with(|epoch| operator.apply(epoch, &mut out));
        }
        said.push(out);
    }
    Ok(said)
}

/// What an operator adds in one second.
#[derive(Clone)]
pub struct Said {
    pub items: Vec<Reading>,
    pub beats: Vec<Beat>,
    pub classes: Vec<ClassedBeat>,
}

impl Said {
    /// All of it as text and bits: equal only if every bit is.
    fn bits(&self) -> Vec<String> {
        let value = |r: &Reading| match r.value {
            Ok(v) => format!("{:016x}", v.to_bits()),
            Err(why) => format!("{why:?}"),
        };
        let item = |r: &Reading| {
            let (time, window, quality) = (r.time.micros(), r.window.micros(), r.quality.to_bits());
            format!("{} {:?} {time} {window} {} {quality:08x}", r.name, r.channel, value(r))
        };
        let beat = |b: &Beat| {
            let (time, height, confidence) = (b.time.micros(), b.amplitude.to_bits(), b.confidence.to_bits());
            format!("{:?} {:?} {time} {height:08x} {confidence:08x}", b.kind, b.channel)
        };
        let class = |c: &ClassedBeat| {
            let (time, confidence) = (c.time.micros(), c.confidence.to_bits());
            format!("{:?} {:?} {time} {confidence:08x}", c.class, c.channel)
        };
        let beats = self.beats.iter().map(beat).chain(self.classes.iter().map(class));
        self.items.iter().map(item).chain(beats).collect()
    }
}

/// Applies one second; what was said before it must stay as it was.
fn apply(operator: &mut dyn Operator, second: &Second, before: &Readings) -> Result<Said, String> {
    let mut out = before.clone();
    second.with(|epoch| operator.apply(epoch, &mut out));
    let (items, beats, classes) = (before.items.len(), before.beats.len(), before.classes.len());
    let kept = Said {
        items: out.items[..items].to_vec(),
        beats: out.beats[..beats].to_vec(),
        classes: out.classes[..classes].to_vec(),
    };
    let was =
        Said { items: before.items.clone(), beats: before.beats.clone(), classes: before.classes.clone() };
    if kept.bits() != was.bits() {
        return Err("changes what earlier operators said".into());
    }
    Ok(Said {
        items: out.items.split_off(items),
        beats: out.beats.split_off(beats),
        classes: out.classes.split_off(classes),
    })
}

fn same(spec: &Spec, what: &str, second: usize, a: &Said, b: &Said) -> Outcome {
    let (a, b) = (a.bits(), b.bits());
    if a == b {
        return Ok(());
    }
    let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    Err(format!("{}: {what}: second {second}: {:?} instead of {:?}", spec.name, b.get(at), a.get(at)))
}

fn save(operator: &dyn Operator) -> Vec<u8> {
    let mut bytes = vec![];
    operator.save(&mut bytes);
    bytes
}

/// An operator saved after any second and loaded into a new one goes on with the same bits: handed over at every
/// second, and cut eight times and followed to the end.
pub fn check_save_load(spec: &'static Spec, seed: u64, length_s: usize) -> Outcome {
    let seconds = scenario(seed, length_s, true);
    let before = upstream(spec, &seconds)?;
    let mut straight = fresh(spec)?;
    let mut relay = fresh(spec)?;
    let mut cut: Vec<(usize, Box<dyn Operator>)> = vec![];
    for (i, (second, before)) in seconds.iter().zip(&before).enumerate() {
        let expected = apply(straight.as_mut(), second, before)?;
        same(spec, "handed over each second", i, &expected, &apply(relay.as_mut(), second, before)?)?;
        for (at, operator) in &mut cut {
            let what = format!("loaded after second {at}");
            same(spec, &what, i, &expected, &apply(operator.as_mut(), second, before)?)?;
        }
        let bytes = save(relay.as_ref());
        let mut next = fresh(spec)?;
        next.load(&bytes).map_err(|e| format!("{}: second {i}: own state refused: {e}", spec.name))?;
        if save(next.as_ref()) != bytes {
            return Err(format!("{}: second {i}: saves another state than it loaded", spec.name));
        }
        relay = next;
        if i % (length_s / 8) == 5 {
            let mut other = fresh(spec)?;
            other.load(&save(straight.as_ref())).map_err(|e| e.to_string())?;
            cut.push((i, other));
        }
    }
    Ok(())
}

/// A state that is cut short or has bytes left over is refused and leaves the operator as it was.
pub fn check_broken_state(spec: &'static Spec, seed: u64) -> Outcome {
    let seconds = scenario(seed, 40, false);
    let before = upstream(spec, &seconds)?;
    let mut operator = fresh(spec)?;
    for (second, before) in seconds.iter().zip(&before) {
        apply(operator.as_mut(), second, before)?;
    }
    let bytes = save(operator.as_ref());
    let mut longer = bytes.clone();
    longer.push(0);
    let step = bytes.len() / 40 + 1;
    let cuts = (0..bytes.len()).step_by(step).map(|n| bytes[..n].to_vec());
    for broken in cuts.chain([longer]) {
        let length = broken.len();
        let answer = catch_unwind(AssertUnwindSafe(|| operator.load(&broken)));
        match answer {
            Err(_) => {
                return Err(format!("{}: panics on {length} of {} bytes of state", spec.name, bytes.len()));
            }
            Ok(Ok(())) => {
                return Err(format!("{}: loads {length} bytes of a state of {}", spec.name, bytes.len()));
            }
            Ok(Err(_)) => {}
        }
        if save(operator.as_ref()) != bytes {
            return Err(format!("{}: a refused state of {length} bytes has left its mark", spec.name));
        }
    }
    Ok(())
}

/// Whatever comes in, nothing panics, every number is finite, every quality lies in 0 to 1, times are in order,
/// and only declared readings come out.
pub fn check_output(spec: &'static Spec, seed: u64, hostile: bool) -> Outcome {
    let seconds = scenario(seed, SECONDS, hostile);
    let before = upstream(spec, &seconds)?;
    let mut operator = fresh(spec)?;
    for (i, (second, before)) in seconds.iter().zip(&before).enumerate() {
        let said = catch_unwind(AssertUnwindSafe(|| apply(operator.as_mut(), second, before)))
            .map_err(|_| format!("{}: panics in second {i} of seed {seed}", spec.name))?
            .map_err(|e| format!("{}: {e}", spec.name))?;
        let fault = |what: String| Err(format!("{}: second {i} of seed {seed}: {what}", spec.name));
        for r in &said.items {
            if !spec.writes.iter().any(|w| w.name == r.name) {
                return fault(format!("{} is not declared", r.name));
            }
            if r.value.is_ok_and(|v| !v.is_finite()) {
                return fault(format!("{} is {:?}", r.name, r.value));
            }
            if !(0.0..=1.0).contains(&r.quality) {
                return fault(format!("{} has quality {}", r.name, r.quality));
            }
            if r.time > second.end() {
                return fault(format!("{} comes from the future", r.name));
            }
        }
        let earliest = second.start() - spec.latency;
        for b in &said.beats {
            if !b.amplitude.is_finite() || !(0.0..=1.0).contains(&b.confidence) {
                return fault(format!("{b:?} is not a beat"));
            }
            if b.time >= second.end() || b.time < earliest {
                return fault(format!(
                    "{b:?} lies outside the declared latency of {} s",
                    spec.latency.seconds()
                ));
            }
        }
        for c in &said.classes {
            let told = c.class != BeatClass::Unclassified;
            if !(0.0..=1.0).contains(&c.confidence) || !told && c.confidence != 0.0 {
                return fault(format!("{c:?} is not a class"));
            }
            if c.time >= second.end() || c.time < earliest {
                return fault(format!("{c:?} lies outside the declared latency"));
            }
        }
        if said.classes.windows(2).any(|pair| pair[0].time >= pair[1].time) {
            return fault("classes are not in order of time".into());
        }
        if said.beats.windows(2).any(|pair| pair[0].time > pair[1].time) {
            return fault("beats are not in order of time".into());
        }
    }
    Ok(())
}

/// Two operators of the same parameters say the same.
pub fn check_determinism(spec: &'static Spec, seed: u64) -> Outcome {
    let seconds = scenario(seed, SECONDS, true);
    let before = upstream(spec, &seconds)?;
    let (mut one, mut other) = (fresh(spec)?, fresh(spec)?);
    for (i, (second, before)) in seconds.iter().zip(&before).enumerate() {
        let (a, b) = (apply(one.as_mut(), second, before)?, apply(other.as_mut(), second, before)?);
        same(spec, "twice", i, &a, &b)?;
    }
    Ok(())
}

/// Defaults are taken, an unknown key is refused, every bound refuses what lies beyond and takes what lies inside.
pub fn check_params(spec: &'static Spec) -> Outcome {
    let fault = |what: String| Err(format!("{}: {what}", spec.name));
    fresh(spec)?;
    let defaults = (spec.defaults)();
    let Some(keys) = defaults.as_object() else { return fault("defaults are no table".into()) };
    let with = |key: &str, value: serde_json::Value| {
        let mut all = defaults.clone();
        all[key] = value;
        (spec.build)(&all)
    };
    if with("no_such_key", 1.into()).is_ok() {
        return fault("takes an unknown key".into());
    }
    if (spec.build)(&serde_json::json!({})).is_err() {
        return fault("does not fill in defaults".into());
    }
    for bound in spec.bounds {
        let Some(default) = keys.get(bound.name) else {
            return fault(format!("bound {} has no parameter", bound.name));
        };
        if bound.check(default.as_f64().unwrap_or(f64::NAN)).is_err() {
            return fault(format!("default of {} is outside its own bound", bound.name));
        }
        let whole = default.is_i64() || default.is_u64();
        let step = if whole { 1.0 } else { (bound.max - bound.min).abs().max(1.0) * 0.01 };
        for beyond in [bound.min - step, bound.max + step] {
            let value = if whole { serde_json::json!(beyond as i64) } else { serde_json::json!(beyond) };
            if with(bound.name, value).is_ok() {
                return fault(format!(
                    "takes {} = {beyond}, outside {}..={}",
                    bound.name, bound.min, bound.max
                ));
            }
        }
    }
    for (key, value) in keys {
        if value.is_number() && !spec.bounds.iter().any(|b| b.name == key) {
            return fault(format!("number {key} has no bound"));
        }
    }
    Ok(())
}

/// The card is complete: lines of text, sources, documented parameters, outputs named and fed properly.
pub fn check_card(spec: &'static Spec) -> Outcome {
    let fault = |what: String| Err(format!("{}: {what}", spec.name));
    let snake = |s: &str| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if !snake(spec.name) || spec.summary.is_empty() || spec.description.is_empty() || spec.sources.is_empty()
    {
        return fault("the card lacks name, summary, description or sources".into());
    }
    for out in spec.writes {
        let fed = auscult_operators::signal::ChannelId::named(out.feeds).is_some() || out.feeds.is_empty();
        if !snake(out.name) || out.unit.is_empty() || out.summary.is_empty() || !fed {
            return fault(format!("output {} is not described, or feeds nothing that exists", out.name));
        }
        let others = OPERATORS.iter().filter(|s| s.name != spec.name);
        if let Some(other) = others.into_iter().find(|s| s.writes.iter().any(|w| w.name == out.name)) {
            return fault(format!("output {} is also written by {}", out.name, other.name));
        }
    }
    let earlier = |name: &str| OPERATORS.iter().take_while(|s| s.name != spec.name).any(|s| s.name == name);
    if let Some(absent) = spec.needs.iter().find(|n| !earlier(n)) {
        return fault(format!("needs {absent}, which is no operator before it"));
    }
    let schema = serde_json::to_value((spec.schema)()).map_err(|e| e.to_string())?;
    let properties = schema.get("properties").and_then(|p| p.as_object()).cloned().unwrap_or_default();
    for (key, _) in (spec.defaults)().as_object().into_iter().flatten() {
        if properties.get(key).and_then(|p| p.get("description")).is_none() {
            return fault(format!("parameter {key} has no doc line"));
        }
    }
    Ok(())
}
