//! Classes of beats on annotated recordings, counted as EC57 counts.
//! In: mitdb. Out: figures on standard error, floors asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/annotations.rs"]
mod annotations;
#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use std::path::Path;

use annotations::{Annotation, annotations, class};
use auscult_operators::ecg;
use auscult_operators::operator::Spec;
use auscult_operators::signal::{BeatClass, ClassedBeat};
use walk::{Wave, walk};

/// The first five minutes are for learning and not counted (s).
const LEARNING_S: f64 = 300.0;
/// Records with paced beats are not counted in figures of ectopic beats.
const PACED: [&str; 2] = ["102", "217"];

/// One class over some records: beats found, all there were, and beats falsely called so.
#[derive(Clone, Copy, Default)]
struct Count {
    right: usize,
    all: usize,
    wrong: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.all += other.all;
        self.wrong += other.wrong;
    }
    fn sensitivity(self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }
    fn predictivity(self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }
}

fn read(folder: &Path, name: &str) -> (Vec<records::Signal>, Vec<Annotation>) {
    let header = std::fs::read_to_string(folder.join(format!("{name}.hea"))).unwrap();
    let samples = std::fs::read(folder.join(format!("{name}.dat"))).unwrap();
    let marks = std::fs::read(folder.join(format!("{name}.atr"))).unwrap();
    (records::wfdb(&header, &samples), annotations(&marks))
}

/// Classes of the beats of a record, from its first `leads` leads.
fn classes(signals: &[records::Signal], leads: usize) -> Vec<ClassedBeat> {
    let names = ["ecg_ii", "ecg_v1"];
    let waves: Vec<Wave> =
        signals.iter().zip(names).take(leads).map(|(s, n)| Wave::new(n, s.rate, s.samples.clone())).collect();
    let chain: [&Spec; 2] = [&ecg::rpeaks::SPEC, &ecg::beat_class::SPEC];
    let mut all = vec![];
    walk(&waves, &chain, |_, out| all.extend(out.classes.iter().copied()));
    assert!(all.windows(2).all(|w| w[0].time < w[1].time), "each beat is classed once, in order");
    all
}

/// Compares a class as EC57 does: within 150 ms, one to one, after five minutes, flutter left out; fusion beats and
/// those of unknown class count neither way, nor do ventricular beats where another class is asked for.
fn count(marks: &[Annotation], rate: f64, found: &[ClassedBeat], letter: char, asked: BeatClass) -> Count {
    let time = |a: &Annotation| a.sample as f64 / rate;
    let (mut flutter, mut open) = (vec![], None);
    for a in marks {
        match a.symbol {
            '[' => open = Some(time(a)),
            ']' => flutter.extend(open.take().map(|o| (o, time(a)))),
            _ => {}
        }
    }
    let counted = |t: f64| t > LEARNING_S && !flutter.iter().any(|f| t >= f.0 && t <= f.1);
    let beats: Vec<(f64, char)> =
        marks.iter().filter_map(|a| class(a.symbol).map(|c| (time(a), c))).collect();
    let found: Vec<(f64, BeatClass)> =
        found.iter().map(|c| (c.time.micros() as f64 / 1e6, c.class)).collect();
    let mut truth: Vec<Option<char>> = vec![None; found.len()];
    let mut sum = Count::default();
    for (i, &(t, letter_there)) in beats.iter().enumerate() {
        let nearer_next = |f: f64| beats.get(i + 1).is_some_and(|n| (f - n.0).abs() < (f - t).abs());
        let near = (found.partition_point(|f| f.0 < t - 0.15)..found.len())
            .take_while(|&k| found[k].0 <= t + 0.15)
            .filter(|&k| truth[k].is_none() && !nearer_next(found[k].0))
            .min_by(|&a, &b| (found[a].0 - t).abs().total_cmp(&(found[b].0 - t).abs()));
        if let Some(k) = near {
            truth[k] = Some(letter_there);
        }
        if letter_there == letter && counted(t) {
            sum.all += 1;
            sum.right += usize::from(near.is_some_and(|k| found[k].1 == asked));
        }
    }
    let neither = |c: Option<char>| c == Some(letter) || matches!(c, Some('F' | 'Q'));
    let said = found.iter().zip(&truth).filter(|(f, _)| f.1 == asked && counted(f.0));
    sum.wrong = said.filter(|(_, c)| !neither(**c)).count();
    sum
}

/// Figures over the development records: (all, those named 2xx) of ventricular, then of supraventricular beats.
fn figures(folder: &Path, leads: usize) -> [(Count, Count); 2] {
    let mut sums = [(Count::default(), Count::default()); 2];
    let names = std::fs::read_to_string(folder.join("RECORDS")).unwrap();
    for name in names.split_whitespace().filter(|n| !PACED.contains(n)) {
        let (signals, marks) = read(folder, name);
        let found = classes(&signals, leads);
        let asked = [('V', BeatClass::Ventricular), ('S', BeatClass::Supraventricular)];
        for ((letter, asked), sum) in asked.into_iter().zip(&mut sums) {
            let c = count(&marks, signals[0].rate, &found, letter, asked);
            eprintln!("mitdb {name} {leads} leads {letter}: {} of {}, {} false", c.right, c.all, c.wrong);
            sum.0.add(c);
            if name.starts_with('2') {
                sum.1.add(c);
            }
        }
    }
    for (letter, sum) in ["V", "S"].iter().zip(&sums) {
        for (what, c) in [("all", sum.0), ("2xx", sum.1)] {
            let (se, p) = (100.0 * c.sensitivity(), 100.0 * c.predictivity());
            eprintln!("mitdb {what} {leads} leads {letter}: sensitivity {se:.2} %, predictivity {p:.2} %");
        }
    }
    sums
}

#[test]
fn ventricular_beats_are_told_from_others() {
    let Some(root) = records::data("mitdb classes of beats") else { return };
    let folder = root.join("mitdb");
    let [(v, v_2xx), (s, _)] = figures(&folder, 1);
    assert!(v.sensitivity() > 0.94 && v.predictivity() > 0.94);
    assert!(v_2xx.sensitivity() > 0.93 && v_2xx.predictivity() > 0.925);
    assert!(s.sensitivity() > 0.48 && s.predictivity() > 0.69);
    let [(v, _), _] = figures(&folder, 2);
    assert!(v.sensitivity() > 0.90 && v.predictivity() > 0.91);
}
