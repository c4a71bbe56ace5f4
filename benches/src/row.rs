//! The rows of a table, and how each is measured.

use std::io::{Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::contender::Contender;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const CHILDREN: usize = 10_000;

/// What one round of a row does; the number is how often.
#[derive(Clone, Copy)]
enum Row {
    Put(usize, usize),
    Get(usize, usize),
    Write(usize),
    Read(usize),
    Append(usize, usize),
    Stat(usize),
    List(usize),
}

const ROWS: [(&str, Row); 14] = [
    ("put 0 B", Row::Put(0, 400)),
    ("put 4 KiB", Row::Put(4 * KIB, 400)),
    ("put 1 MiB", Row::Put(MIB, 30)),
    ("get 0 B", Row::Get(0, 1000)),
    ("get 4 KiB", Row::Get(4 * KIB, 1000)),
    ("get 1 MiB", Row::Get(MIB, 100)),
    ("write a stream of 64 MiB", Row::Write(64)),
    ("read a stream of 64 MiB", Row::Read(64)),
    ("append 64 KiB", Row::Append(64 * KIB, 200)),
    ("append 8 MiB", Row::Append(8 * MIB, 6)),
    ("stat", Row::Stat(2000)),
    ("stat, missing", Row::Stat(0)),
    ("list 10,000", Row::List(CHILDREN)),
    ("list 10", Row::List(10)),
];

/// Prints a table of all rows for these contenders; the first is ours.
pub(crate) async fn table(title: &str, contenders: &[Arc<dyn Contender>], rounds: usize) -> Result<()> {
    print!("\n{title}\n\n| | holdall |");
    contenders[1..].iter().for_each(|peer| print!(" {} |", peer.name()));
    println!("\n|---|---|{}", "---|".repeat(contenders.len() - 1));
    for contender in contenders {
        prepare(&**contender).await?;
    }
    for (name, row) in ROWS {
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..=rounds {
            for turn in 0..contenders.len() {
                let which = (turn + round) % contenders.len();
                let time = measure(&*contenders[which], row).await?;
                // The first round warms up.
                if round > 0 {
                    times[which].push(time);
                }
            }
        }
        print!("| {name} | {} |", pretty(median(times[0].iter().flatten().map(Duration::as_secs_f64).collect())));
        for peer in &times[1..] {
            let pairs = peer.iter().zip(&times[0]);
            let ratios: Vec<f64> =
                pairs.filter_map(|(p, o)| Some(p.as_ref()?.as_secs_f64() / o.as_ref()?.as_secs_f64())).collect();
            match ratios.is_empty() {
                true => print!(" can't |"),
                false => print!(" {:.2} |", median(ratios)),
            }
        }
        println!();
    }
    Ok(())
}

async fn prepare(contender: &dyn Contender) -> Result<()> {
    for (dir, count) in [("list10000/d", CHILDREN), ("list10/d", 10)] {
        for n in 0..count {
            contender.put(&format!("{dir}/{n:05}"), Bytes::new()).await?;
        }
    }
    for size in [0, 4 * KIB, MIB] {
        contender.put(&format!("get/{size}"), noise(size)).await?;
    }
    contender.write("read/64", noise(MIB), 64).await
}

/// The time of one call, or `None` where the contender has no such call.
async fn measure(contender: &dyn Contender, row: Row) -> Result<Option<Duration>> {
    let check =
        |ok: bool, what: &str| if ok { Ok(()) } else { Err(Error::other(format!("{}: {what}", contender.name()))) };
    let mut spent = Duration::ZERO;
    let count = match row {
        Row::Put(size, count) => {
            let (content, keys) = (noise(size), (0..count).map(|n| format!("put/{n}")).collect::<Vec<_>>());
            let start = Instant::now();
            for key in &keys {
                contender.put(key, content.clone()).await?;
            }
            spent += start.elapsed();
            for key in &keys {
                contender.delete(key).await?;
            }
            count
        }
        Row::Get(size, count) => {
            let key = format!("get/{size}");
            let start = Instant::now();
            for _ in 0..count {
                check(contender.get(&key).await? == size, "get: wrong length")?;
            }
            spent += start.elapsed();
            count
        }
        Row::Write(mib) => {
            let piece = noise(MIB);
            let start = Instant::now();
            contender.write("write", piece, mib).await?;
            spent += start.elapsed();
            check(contender.stat("write").await? == (mib * MIB) as u64, "write: wrong length")?;
            contender.delete("write").await?;
            1
        }
        Row::Read(mib) => {
            let start = Instant::now();
            check(contender.read("read/64").await? == mib * MIB, "read: wrong length")?;
            spent += start.elapsed();
            1
        }
        Row::Append(size, count) => {
            let content = noise(size);
            contender.put("append", Bytes::new()).await?;
            for n in 0..count {
                let start = Instant::now();
                match contender.append("append", (n * size) as u64, content.clone()) {
                    Some(append) => append.await?,
                    None => return Ok(None),
                }
                spent += start.elapsed();
            }
            check(contender.stat("append").await? == (count * size) as u64, "append: wrong length")?;
            contender.delete("append").await?;
            count
        }
        Row::Stat(0) => {
            let start = Instant::now();
            for _ in 0..1000 {
                check(contender.stat("get/missing").await.is_err(), "stat: found what is missing")?;
            }
            spent += start.elapsed();
            1000
        }
        Row::Stat(count) => {
            let start = Instant::now();
            for _ in 0..count {
                check(contender.stat("get/4096").await? == 4096, "stat: wrong length")?;
            }
            spent += start.elapsed();
            count
        }
        Row::List(children) => {
            let (key, count) = (format!("list{children}/d"), 10_000 / children);
            let start = Instant::now();
            for _ in 0..count {
                check(contender.list(&key).await? == children, "list: wrong number")?;
            }
            spent += start.elapsed();
            count
        }
    };
    Ok(Some(spent / count as u32))
}

/// Bytes that don't compress, the same every time.
fn noise(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = std::iter::repeat_with(next).take(size.div_ceil(8)).flat_map(u64::to_le_bytes);
    words.take(size).collect::<Vec<u8>>().into()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn pretty(seconds: f64) -> String {
    match seconds {
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.2} µs", s * 1e6),
    }
}
