//! Rhythms on annotated recordings.
//! In: mitdb, afdb_rr. Out: figures on standard error, floors asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/annotations.rs"]
mod annotations;
#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use annotations::annotations;
use auscult_operators::ecg;
use auscult_operators::operator::Spec;
use auscult_operators::signal::{BeatClass, ChannelId, ClassedBeat, Epoch, EventTime, Readings, Values};
use walk::{Wave, walk};

/// Seconds of fibrillation called and missed, of other rhythms called and not, and of flutter called and not.
#[derive(Clone, Copy, Debug, Default)]
struct Seconds {
    af: (u32, u32),
    other: (u32, u32),
    flutter: (u32, u32),
}

impl Seconds {
    fn add(&mut self, rhythm: &str, on: bool) {
        let of = match rhythm {
            "(AFIB" => &mut self.af,
            "(AFL" => &mut self.flutter,
            _ => &mut self.other,
        };
        *(if on { &mut of.0 } else { &mut of.1 }) += 1;
    }
    fn merge(&mut self, o: Self) {
        let both = |a: (u32, u32), b: (u32, u32)| (a.0 + b.0, a.1 + b.1);
        let flutter = both(self.flutter, o.flutter);
        *self = Self { af: both(self.af, o.af), other: both(self.other, o.other), flutter };
    }
    fn sensitivity(self) -> f64 {
        f64::from(self.af.0) / f64::from((self.af.0 + self.af.1).max(1))
    }
    fn specificity(self) -> f64 {
        f64::from(self.other.1) / f64::from((self.other.0 + self.other.1).max(1))
    }
    fn show(self, what: &str) {
        let (se, sp) = (100.0 * self.sensitivity(), 100.0 * self.specificity());
        eprintln!("{what}: sensitivity {se:.2} %, specificity {sp:.2} % by seconds; {self:?}");
    }
}

/// The rhythm at a time, of changes in order; empty before the first.
fn rhythm_at(changes: &[(f64, String)], t: f64) -> &str {
    let at = changes.partition_point(|c| c.0 <= t);
    if at == 0 { "" } else { &changes[at - 1].1 }
}

#[test]
fn fibrillation_of_mitdb_is_told() {
    let Some(root) = records::data("mitdb atrial fibrillation") else { return };
    let folder = root.join("mitdb");
    let chain: [&Spec; 3] = [&ecg::rpeaks::SPEC, &ecg::beat_class::SPEC, &ecg::af_episode::SPEC];
    let (mut sum, mut silent, mut seconds) = (Seconds::default(), 0, 0);
    for name in std::fs::read_to_string(folder.join("RECORDS")).unwrap().split_whitespace() {
        let header = std::fs::read_to_string(folder.join(format!("{name}.hea"))).unwrap();
        let signals = records::wfdb(&header, &std::fs::read(folder.join(format!("{name}.dat"))).unwrap());
        let marks = annotations(&std::fs::read(folder.join(format!("{name}.atr"))).unwrap());
        let rate = signals[0].rate;
        let changes: Vec<(f64, String)> = marks
            .iter()
            .filter(|m| m.text.starts_with('('))
            .map(|m| (m.sample as f64 / rate, m.text.clone()))
            .collect();
        let wave = Wave::new("ecg_ii", rate, signals[0].samples.clone());
        let mut own = Seconds::default();
        walk(&[wave], &chain, |s, out| {
            let state = out.find("af_state").unwrap().value;
            seconds += 1;
            silent += u32::from(state.is_err());
            // What cannot be said is not called.
            own.add(rhythm_at(&changes, s as f64 + 0.5), state == Ok(1.0));
        });
        own.show(&format!("mitdb {name} AF"));
        sum.merge(own);
    }
    sum.show("mitdb AF");
    eprintln!("mitdb AF: nothing said in {silent} of {seconds} s");
    assert!(sum.sensitivity() > FLOORS.0 && sum.specificity() > FLOORS.1);
}

/// Least sensitivity and specificity: of mitdb, then of afdb.
const FLOORS: (f64, f64, f64, f64) = (0.93, 0.96, 0.95, 0.965);

#[test]
fn fibrillation_of_afdb_intervals_is_told() {
    let Some(root) = records::data("afdb atrial fibrillation") else { return };
    let folder = root.join("afdb_rr");
    let channel = ChannelId::named("ecg_ii").unwrap();
    let mut sum = Seconds::default();
    for name in ["04015", "04908", "04936", "05121", "05261", "07162", "07859", "07879", "07910", "08434"] {
        let text = |file: String| {
            String::from_utf8(records::read(&folder, "afdb_rr_more.tar.gz", &file).unwrap()).unwrap()
        };
        let beats: Vec<i64> = text(format!("qrs{name}.txt"))
            .lines()
            .filter_map(|l| l.split_whitespace().nth(2)?.parse::<i64>().ok())
            .map(|sample| sample * 4000)
            .collect();
        let changes: Vec<(f64, String)> = text(format!("atr{name}.txt"))
            .lines()
            .filter_map(|l| {
                let words: Vec<&str> = l.split_whitespace().collect();
                let sample = words.get(1)?.parse::<f64>().ok()?;
                Some((sample / 250.0, (*words.last()?).to_owned()))
            })
            .collect();
        let spec = &ecg::af_episode::SPEC;
        let mut operator = (spec.build)(&(spec.defaults)()).unwrap();
        let (mut own, mut out, values, mut at) =
            (Seconds::default(), Readings::default(), Values::default(), 0);
        for s in 0..beats.last().unwrap() / 1_000_000 {
            out.clear();
            while at < beats.len() && beats[at] < (s + 1) * 1_000_000 {
                let time = EventTime::from_micros(beats[at]);
                out.classes.push(ClassedBeat { channel, time, class: BeatClass::Normal, confidence: 1.0 });
                at += 1;
            }
            let start = EventTime::from_seconds(s);
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            own.add(rhythm_at(&changes, s as f64 + 0.5), out.find("af_state").unwrap().value == Ok(1.0));
        }
        own.show(&format!("afdb {name}"));
        sum.merge(own);
    }
    sum.show("afdb AF");
    assert!(sum.sensitivity() > FLOORS.2 && sum.specificity() > FLOORS.3);
}

/// Seconds of `ventricular_fibrillation` called inside and outside the annotated spans, and how many there are.
fn fibrillation(folder: &std::path::Path, name: &str) -> [(u32, u32); 2] {
    let header = std::fs::read_to_string(folder.join(format!("{name}.hea"))).unwrap();
    let signals = records::wfdb(&header, &std::fs::read(folder.join(format!("{name}.dat"))).unwrap());
    let marks = annotations(&std::fs::read(folder.join(format!("{name}.atr"))).unwrap());
    let rate = signals[0].rate;
    let (mut spans, mut open) = (vec![], None);
    for m in &marks {
        match m.symbol {
            '[' => open = Some(m.sample as f64 / rate),
            ']' => spans.extend(open.take().map(|o| (o, m.sample as f64 / rate))),
            _ => {}
        }
    }
    let mut counts = [(0, 0); 2];
    walk(&[Wave::new("ecg_ii", rate, signals[0].samples.clone())], ecg::SPECS, |s, out| {
        let t = s as f64 + 0.5;
        let inside = spans.iter().any(|p| t >= p.0 && t <= p.1);
        // For eight seconds after a span it may still be called: the windows must empty.
        if !inside && spans.iter().any(|p| t > p.1 && t < p.1 + 8.0) {
            return;
        }
        let called = out.find("ventricular_fibrillation").unwrap().value == Ok(1.0);
        let count = &mut counts[usize::from(!inside)];
        count.0 += u32::from(called);
        count.1 += 1;
    });
    let [(found, all), (wrong, rest)] = counts;
    eprintln!("{name} fibrillation: {found} of {all} s called, {wrong} of the other {rest} s");
    counts
}

#[test]
fn ventricular_fibrillation_is_called() {
    let Some(root) = records::data("cudb and mitdb ventricular fibrillation") else { return };
    let [cu, cu_rest] = fibrillation(&root.join("cudb"), "cu01");
    let [flutter, flutter_rest] = fibrillation(&root.join("mitdb"), "207");
    assert!(f64::from(cu.0) > 0.88 * f64::from(cu.1) && cu_rest.0 == 0);
    assert!(f64::from(flutter.0) > 0.6 * f64::from(flutter.1) && flutter_rest.0 <= 10);
    for name in ["106", "119", "203", "208", "209", "223"] {
        let [_, rest] = fibrillation(&root.join("mitdb"), name);
        assert_eq!(rest.0, 0, "{name}");
    }
}

/// Whether the alarm of each kind is called in the last 16 seconds before it sounds, against what people said of it.
#[test]
fn alarms_of_intensive_care() {
    let Some(root) = records::data("challenge2015 alarms") else { return };
    let folder = root.join("challenge2015");
    let list = std::fs::read_to_string(folder.join("ALARMS")).unwrap();
    let kinds = [
        ("Asystole", "asystole"),
        ("Bradycardia", "extreme_bradycardia"),
        ("Tachycardia", "extreme_tachycardia"),
        ("Ventricular_Tachycardia", "ventricular_tachycardia"),
        ("Ventricular_Flutter_Fib", "ventricular_fibrillation"),
    ];
    let mut counts = [[0u32; 4]; 5];
    for line in list.lines() {
        let words: Vec<&str> = line.split(',').collect();
        let Some(kind) = kinds.iter().position(|k| k.0 == words[1]) else { continue };
        let file = |end: &str| {
            let name = format!("{}.{end}", words[0]);
            records::read(&folder, "more.tar.gz", &name)
        };
        let (Some(header), Some(samples)) = (file("hea"), file("mat")) else { continue };
        let signals = records::wfdb(&String::from_utf8(header).unwrap(), &samples);
        let other = ["PLETH", "ABP", "RESP"];
        let leads = signals.iter().filter(|s| !other.contains(&s.name.as_str()));
        let waves: Vec<Wave> = leads
            .zip(["ecg_ii", "ecg_v1"])
            .map(|(s, n)| Wave::new(n, s.rate, s.samples[..75_000].to_vec()))
            .collect();
        let mut called = false;
        walk(&waves, ecg::SPECS, |s, out| {
            called |= s >= 284 && out.find(kinds[kind].1).unwrap().value == Ok(1.0);
        });
        let cell = usize::from(words[2] != "1") * 2 + usize::from(!called);
        counts[kind][cell] += 1;
    }
    let mut sum = [0; 4];
    for (kind, c) in kinds.iter().zip(&counts) {
        eprintln!(
            "challenge2015 {}: true {} called {} missed, false {} called {} silent",
            kind.0, c[0], c[1], c[2], c[3]
        );
        for (s, c) in sum.iter_mut().zip(c) {
            *s += c;
        }
    }
    let (true_called, false_silent) =
        (f64::from(sum[0]) / f64::from(sum[0] + sum[1]), f64::from(sum[3]) / f64::from(sum[2] + sum[3]));
    eprintln!(
        "challenge2015 all: {true_called:.3} of true alarms called, {false_silent:.3} of false ones silent"
    );
    assert!(true_called > 0.85 && false_silent > 0.88);
}
