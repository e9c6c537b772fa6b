//! The parts of the walk whose instructions are counted: each hop, each operator, and the whole step.
//! In: a small ward. Out: for each part something to run, in which only [`measured`] counts.

use std::sync::Arc;

use auscult::align::{Epochs, Sealed, Timeline};
use auscult::decode::{Decoded, decode};
use auscult::worker::{Event, Placed, Worker};
use auscult_operators::filter::{
    Cascade, CascadeState, Conditioning, Job, Width, cascade_for, lanes::filter_many_at,
};
use auscult_operators::operator::{Operator, Spec};
use auscult_operators::registry::OPERATORS;
use auscult_operators::score;
use auscult_operators::signal::{ChannelId, Epoch, EventTime, Hertz, Observed, Origin, Run, Span, Values};
use auscult_operators::signal::{Frame, Kind, Readings};
use auscult_operators::spectrum::Welch;

use crate::workload::{self, Size, frames, placed, records};

/// The ward that is counted.
pub const SIZE: Size = Size { beds: 8, seconds: 70 };
/// Seconds that are not counted: filters settle, windows fill.
pub const WARM_S: usize = 30;

/// Runs what is to be counted: a counting tool that is told this function's name counts nothing else.
#[inline(never)]
pub fn measured(part: &mut dyn FnMut()) {
    part();
}

/// The parts by name, operators after the hops.
pub fn names() -> Vec<String> {
    let hops = ["decode", "align", "filter", "welch", "news2", "step"];
    hops.iter()
        .map(|h| h.to_string())
        .chain(OPERATORS.iter().map(|o| format!("operator.{}", o.name)))
        .collect()
}

/// Runs the part of that name and returns how many bed-seconds were counted; `None` if there is no such part.
pub fn run(name: &str) -> Option<usize> {
    match name {
        "decode" => Some(decoding()),
        "align" => Some(alignment()),
        "filter" => Some(conditioning()),
        "welch" => Some(welch()),
        "news2" => Some(news2()),
        "step" => Some(step()),
        other => {
            let name = other.strip_prefix("operator.")?;
            OPERATORS.iter().find(|o| o.name == name).map(|o| operator(o))
        }
    }
}

fn decoding() -> usize {
    let log = records(&frames(SIZE), 0);
    measured(&mut || {
        let good = log.iter().filter(|r| matches!(decode(r), Decoded::Frame(_))).count();
        assert_eq!(good, log.len());
    });
    log.len()
}

fn step() -> usize {
    // Without a model: how it is computed is the runtime's, whatever version is at hand.
    let mut plan = Arc::into_inner(workload::plan(false)).expect("a plan just made");
    plan.models.clear();
    let mut worker = Worker::new(Arc::new(plan));
    let log = placed(frames(SIZE), 0);
    let (warm, counted) = log.split_at(WARM_S * SIZE.beds);
    drop(worker.step(Event::Frames(warm)));
    measured(&mut || {
        counted.chunks(500).for_each(|batch: &[Placed]| drop(worker.step(Event::Frames(batch))))
    });
    counted.len()
}

/// The epochs of the ward, bed after bed.
fn epochs(mut each: impl FnMut(usize, usize, &Sealed), counted: bool) -> usize {
    let ward: Vec<Arc<Frame>> = frames(SIZE).into_iter().map(Arc::new).collect();
    let mut seen = 0;
    for bed in 0..SIZE.beds {
        let (mut timeline, mut sealed) = (Timeline::default(), Epochs::default());
        for (second, frame) in ward.iter().skip(bed).step_by(SIZE.beds).enumerate() {
            let mut take = || {
                timeline.take(frame, second as i64);
                timeline.seal_due(Span::from_seconds(2.0), &mut sealed);
            };
            if counted && second >= WARM_S {
                measured(&mut take)
            } else {
                take()
            }
            while !sealed.is_empty() {
                let s = sealed.remove(0);
                each(bed, second, &s);
                sealed.give_back(s);
            }
            seen += usize::from(second >= WARM_S);
        }
    }
    seen
}

fn alignment() -> usize {
    epochs(|_, _, _| {}, true)
}

/// What conditions the channels of one bed.
#[derive(Default)]
struct Conditioner {
    chains: Vec<(ChannelId, Option<Cascade>, CascadeState)>,
}

impl Conditioner {
    fn clean(&mut self, sealed: &Sealed) -> Vec<f32> {
        let mut clean = sealed.raw.clone();
        for run in &sealed.runs {
            let at = self.chains.iter().position(|c| c.0 == run.channel).unwrap_or_else(|| {
                let cascade = cascade_for(run.channel.row().kind, run.rate, &Conditioning::default());
                self.chains.push((run.channel, cascade, CascadeState::default()));
                self.chains.len() - 1
            });
            let (_, cascade, state) = &mut self.chains[at];
            if let Some(cascade) = cascade {
                cascade.filter(state, &sealed.raw[run.range.clone()], &mut clean[run.range.clone()]);
            }
        }
        clean
    }
}

/// Runs the operators of the plan in order and counts one of them.
fn operator(counted: &'static Spec) -> usize {
    let build = || -> Vec<(&'static Spec, Box<dyn Operator>)> {
        OPERATORS.iter().map(|s| (*s, (s.build)(&(s.defaults)()).expect("defaults are good"))).collect()
    };
    let mut beds: Vec<_> =
        (0..SIZE.beds).map(|_| (build(), Conditioner::default(), Values::default())).collect();
    let mut out = Readings::default();
    epochs(
        |bed, second, sealed| {
            let (operators, conditioner, values) = &mut beds[bed];
            let clean = conditioner.clean(sealed);
            observe(values, sealed);
            let run = |r: &auscult::align::RunMeta| Run {
                channel: r.channel,
                rate: r.rate,
                start: r.start,
                reset: r.reset,
                raw: &sealed.raw[r.range.clone()],
                clean: &clean[r.range.clone()],
                bridged: r.bridged,
            };
            let runs: Vec<Run<'_>> = sealed.runs.iter().map(run).collect();
            out.clear();
            for (spec, operator) in operators {
                let epoch = Epoch { start: sealed.start, runs: &runs, values };
                let mut apply = || operator.apply(&epoch, &mut out);
                if std::ptr::eq(*spec, counted) && second >= WARM_S { measured(&mut apply) } else { apply() }
            }
        },
        false,
    )
}

fn observe(values: &mut Values, sealed: &Sealed) {
    for o in &sealed.observations {
        let Some(value) = o.value else { continue };
        let (observed_at, valid_until) = (o.observed_at, o.observed_at + o.channel.row().hold);
        let seen = Observed { value, observed_at, valid_until, quality: o.quality, origin: Origin::Reported };
        values.store(o.channel, seen);
    }
}

fn conditioning() -> usize {
    let cascade = cascade_for(Kind::Ecg, Hertz(250.0), &Conditioning::default()).expect("a usual rate");
    let input: Vec<f32> = (0..250).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let mut output = vec![vec![0f32; input.len()]; 64];
    let mut states = vec![CascadeState::default(); output.len()];
    let width = Width::available().filter(|w| *w <= Width::Bits256).last().unwrap_or(Width::Scalar);
    measured(&mut || {
        let rows = output.iter_mut().zip(&mut states);
        let mut jobs: Vec<_> = rows.map(|(output, state)| Job { input: &input, output, state }).collect();
        filter_many_at(width, &cascade, &mut jobs);
    });
    output.len()
}

fn welch() -> usize {
    let mut welch = Welch::new(1000, Hertz(250.0)).expect("an even length");
    let samples: Vec<f32> = (0..2500).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let mut density = vec![0.0; welch.bins()];
    measured(&mut || {
        let _ = welch.density(&samples, &mut density);
    });
    10
}

fn news2() -> usize {
    let mut values = Values::default();
    let mut n = 0;
    epochs(
        |_, second, sealed| {
            observe(&mut values, sealed);
            let now: EventTime = sealed.start + Span::EPOCH;
            let mut evaluate = || drop((score::SCORES[0].evaluate)(&values, now));
            if second >= WARM_S {
                measured(&mut evaluate);
                n += 1;
            }
        },
        false,
    );
    n
}
