#![allow(clippy::unwrap_used, clippy::print_stderr, dead_code, unused)]
#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;
use auscult_operators::{ppg, quality, signal::*};
use records::{Table, read};
use walk::{Wave, walk};
#[test]
fn dbg() {
    let folder = records::data("x").unwrap().join("bidmc");
    for rec in ["24","43","28"] {
    let g=|w:&str| Table::parse(&String::from_utf8(read(&folder,"bidmc_more.tar.gz",&format!("bidmc_{rec}_{w}.csv")).unwrap()).unwrap());
    let (n,s)=(g("Numerics"),g("Signals"));
    let (p,h)=(n.column("PULSE").unwrap(),n.column("HR").unwrap());
    let mut last=0.0;
    let d:Vec<f64>=p.iter().zip(&h).map(|(a,b)|(a-b).abs()).filter(|x|x.is_finite()).collect();
    eprintln!("{rec} |PULSE-HR| {:.2}", d.iter().sum::<f64>()/d.len() as f64);
    let mut ours=vec![];
    let w=Wave::new("ppg",125.0,s.column("PLETH").unwrap().iter().map(|x|*x as f32).collect());
    walk(&[w],&[quality::SPECS,ppg::SPECS].concat(),|s,out|{
      let r=out.find("pulse_rate").unwrap();
      ours.push(r.value.ok());
      if s>100 && s<125 { let b:Vec<String>=out.beats.iter().map(|b|{let t=b.time.micros() as f64/1e6; let x=format!("{:.2}/{:.2}/{:.2}",t-last,b.amplitude,b.confidence); last=t; x}).collect();
      eprintln!("{s} P{} H{} ours {:?} q{:.2} {}",p[s as usize+1],h[s as usize+1],r.value.ok().map(|x|x.round()),r.quality,b.join(" "));}
    });
    for lag in 0..14 { let e=|t:&Vec<f64>|{let v:Vec<f64>=ours.iter().enumerate().skip(20).filter_map(|(i,o)|Some((o.as_ref()?-t.get(i+lag).filter(|x|x.is_finite())?).abs())).collect(); v.iter().sum::<f64>()/v.len() as f64};
      eprintln!("lag {lag} pulse {:.2} hr {:.2}", e(&p), e(&h)); }
    }
}
