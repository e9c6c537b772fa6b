//! The line as the kernel sees it: the service lives in a network namespace of its own, at the end of a cable.
//! A cable that is pulled resets nothing; where there is no way, every call fails at once.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Fault, Run, options};
use crate::kafka::Broker;
use crate::process::random_bytes;
use crate::site::Options;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "cable",
    rows: &["T6"],
    what: "the service's cable is pulled for 1 s, 5 s and, in the long form, 30 s; then it has no way to the broker",
    proof: "times that the kernel saw the cable without a carrier; packets for which it found no way",
    run: cable,
}];

/// A namespace with one end of a pair of interfaces in it; both go with the value.
struct Cable {
    name: String,
    /// Of this end.
    near: String,
    /// Address of this end.
    host: String,
}

fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(args).output().map_err(|e| format!("cannot run `ip`: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let ok = output.status.success();
    if ok {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {args:?}: {said}"))
    }
}

impl Cable {
    fn lay() -> Result<Self, String> {
        let [a, b, ..] = random_bytes();
        let at = |n: u8| format!("10.231.{a}.{}", (b & 0xfc) + n);
        let name = format!("auscult-{a:02x}{b:02x}");
        let (near, far) = (format!("aus{a:02x}{b:02x}n"), format!("aus{a:02x}{b:02x}f"));
        ip(&["netns", "add", &name])
            .map_err(|e| format!("a network namespace needs root and iproute2: {e}"))?;
        let cable = Self { name, near, host: at(1) };
        let Self { name, near, .. } = &cable;
        ip(&["link", "add", near, "type", "veth", "peer", "name", &far, "netns", name])?;
        ip(&["addr", "add", &format!("{}/30", at(1)), "dev", near])?;
        ip(&["link", "set", near, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{}/30", at(2)), "dev", &far])?;
        ip(&["-n", name, "link", "set", &far, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(cable)
    }

    fn plug(&self, plugged: bool) {
        ip(&["link", "set", &self.near, if plugged { "up" } else { "down" }])
            .expect("the interface is there");
    }

    /// Before the way that the interface knows, one that leads nowhere.
    fn way(&self, there: bool) {
        let change = if there { "del" } else { "add" };
        // Longer than the network itself: it wins.
        ip(&["-n", &self.name, "route", change, "unreachable", &format!("{}/32", self.host)])
            .expect("a route");
    }

    /// How often the kernel saw this end without a carrier.
    fn pulled(&self) -> u64 {
        let path = format!("/sys/class/net/{}/carrier_down_count", self.near);
        std::fs::read_to_string(path).ok().and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }

    /// Packets of the service for which there was no way.
    fn no_way(&self) -> u64 {
        let text = ip(&["netns", "exec", &self.name, "cat", "/proc/net/snmp"]).unwrap_or_default();
        let mut lines = text.lines().filter(|l| l.starts_with("Ip:")).map(str::split_whitespace);
        let (Some(names), Some(mut values)) = (lines.next(), lines.next()) else { return 0 };
        let at = names.into_iter().position(|n| n == "OutNoRoutes");
        at.and_then(|n| values.nth(n)?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn cable(run: &mut Run) {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return run.report.not_run = Some(why),
    };
    let broker = Broker::start_proxied_at(&cable.host);
    let address = broker.proxy().address();
    let mut trial = Trial::new(&broker.client(), &Options { brokers: Some(&address), ..options() });
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.wrap(&["ip", "netns", "exec", &cable.name]);
    // Its pages are on the other side: that it tells something shows that it runs.
    engine.launch();
    trial.send(run.load(40, 150), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let (pulled, no_way) = (cable.pulled(), cable.no_way());
    let spans = run.pick(&[1, 5][..], &[1, 5, 30]);
    for seconds in spans {
        during(run, &trial, *seconds, |gone| cable.plug(!gone));
    }
    during(run, &trial, 5, |gone| cable.way(!gone));
    run.report.prove("times without a carrier", cable.pulled() - pulled, spans.len() as u64);
    run.report.prove("packets without a way", cable.no_way() - no_way, 1);
    run.report.expect(engine.alive(), || format!("the service ended: {}", engine.tail(3)));
    let (code, took) = engine.stop();
    run.report.expect(code == 0 && took <= Duration::from_secs(10), || {
        format!("SIGTERM ended it with {code} after {took:?}")
    });
    // For the verdict it comes out, to where its pages can be seen.
    engine.wrap(&[]);
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}

fn during(run: &mut Run, trial: &Trial, seconds: u64, gone: impl Fn(bool)) {
    let begun = Instant::now();
    gone(true);
    thread::sleep(Duration::from_secs(seconds));
    gone(false);
    let healed = Instant::now();
    let flows = trial.flows(1, Duration::from_secs(60));
    let (again, gap) = (healed.elapsed(), trial.watcher.longest_gap(begun, Instant::now()));
    run.report
        .note(format!("{seconds} s: told again {again:.1?} after; longest time without an output {gap:.1?}"));
    run.report.expect(flows, || format!("nothing is told after {seconds} s"));
}
