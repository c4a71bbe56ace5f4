//! The rows of a table, and how each is measured.

use std::io::{Error, Result};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::contender::Contender;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What one round of a row does; the last number is how often.
#[derive(Clone, Copy)]
pub(crate) enum Row {
    Put(usize, usize),
    Get(usize, usize),
    Write(usize),
    Read(usize),
    Append(usize, usize),
    /// Where there are no appends, a put of as many bytes.
    AppendOrPut(usize, usize),
    Stat(usize),
    StatMissing(usize),
    List(usize, usize),
    Delete(usize),
}

/// For what is near.
pub(crate) const LOCAL: [(&str, Row); 14] = [
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
    ("stat, missing", Row::StatMissing(1000)),
    ("list 10,000", Row::List(10_000, 1)),
    ("list 10", Row::List(10, 1000)),
];

/// For what takes requests.
pub(crate) const REMOTE: [(&str, Row); 12] = [
    ("put 4 KiB", Row::Put(4 * KIB, 200)),
    ("put 1 MiB", Row::Put(MIB, 30)),
    ("get 4 KiB", Row::Get(4 * KIB, 200)),
    ("get 1 MiB", Row::Get(MIB, 50)),
    ("write a stream of 256 MiB", Row::Write(256)),
    ("read a stream of 256 MiB", Row::Read(256)),
    ("append 64 KiB", Row::AppendOrPut(64 * KIB, 200)),
    ("append 8 MiB", Row::AppendOrPut(8 * MIB, 8)),
    ("stat", Row::Stat(300)),
    ("stat, missing", Row::StatMissing(300)),
    ("list 1,000", Row::List(1000, 10)),
    ("delete", Row::Delete(200)),
];

/// Of those, what sends many bytes.
pub(crate) const SENDING: [(&str, Row); 2] = [REMOTE[4], REMOTE[7]];

/// The time that passed, and what of the processors' this process spent, in seconds.
#[derive(Clone, Copy, Default)]
struct Spent {
    time: f64,
    cpu: f64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.time += other.time;
        self.cpu += other.cpu;
    }
}

struct Watch(Instant, f64);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }
    fn elapsed(&self) -> Spent {
        Spent { time: self.0.elapsed().as_secs_f64(), cpu: cpu() - self.1 }
    }
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What is shown.
pub(crate) enum Show {
    Time,
    /// And the processors' time, where the other end is another process.
    TimeAndCpu,
}

/// Prints a table of these rows, of those whose name has `only` in it, for these contenders; the first is ours.
pub(crate) async fn table(
    title: &str,
    contenders: &[Arc<dyn Contender>],
    rows: &[(&str, Row)],
    rounds: usize,
    only: &str,
    show: Show,
) -> Result<()> {
    let header = |title: &str| {
        let peers: String = contenders[1..].iter().map(|peer| format!(" {} |", peer.name())).collect();
        println!("\n{title}\n\n| | holdall |{peers}\n|---|---|{}", "---|".repeat(contenders.len() - 1));
    };
    for contender in contenders {
        prepare(&**contender, rows).await?;
    }
    header(title);
    let mut cpu = Vec::new();
    for (name, row) in rows.iter().filter(|(name, _)| name.contains(only)) {
        let mut spent = vec![Vec::new(); contenders.len()];
        for round in 0..=rounds {
            for turn in 0..contenders.len() {
                let which = (turn + round) % contenders.len();
                let once = measure(&*contenders[which], *row).await?;
                // The first round warms up.
                if round > 0 {
                    spent[which].push(once);
                }
            }
        }
        println!("{}", line(name, &spent, |spent| spent.time));
        cpu.push(line(name, &spent, |spent| spent.cpu));
    }
    if matches!(show, Show::TimeAndCpu) {
        header(&format!("{title}; CPU time"));
        println!("{}", cpu.join("\n"));
    }
    Ok(())
}

fn line(name: &str, spent: &[Vec<Option<Spent>>], of: fn(Spent) -> f64) -> String {
    let ours = spent[0].iter().flatten().map(|spent| of(*spent)).collect();
    let mut line = format!("| {name} | {} |", pretty(median(ours)));
    for peer in &spent[1..] {
        let ratios: Vec<f64> =
            peer.iter().zip(&spent[0]).filter_map(|(peer, ours)| Some(of((*peer)?) / of((*ours)?))).collect();
        line += &if ratios.is_empty() { " can't |".to_owned() } else { format!(" {:.2} |", median(ratios)) };
    }
    line
}

async fn prepare(contender: &dyn Contender, rows: &[(&str, Row)]) -> Result<()> {
    contender.put("get/4096", noise(4 * KIB)).await?;
    for (_, row) in rows {
        match *row {
            Row::List(children, _) => {
                for n in 0..children {
                    contender.put(&format!("list{children}/d/{n:05}"), Bytes::new()).await?;
                }
            }
            Row::Get(size, _) => contender.put(&format!("get/{size}"), noise(size)).await?,
            Row::Read(mib) => contender.write(&format!("read/{mib}"), noise(MIB), mib).await?,
            _ => {}
        }
    }
    Ok(())
}

/// What one call takes, or `None` where the contender has no such call.
async fn measure(contender: &dyn Contender, row: Row) -> Result<Option<Spent>> {
    let check =
        |ok: bool, what: &str| if ok { Ok(()) } else { Err(Error::other(format!("{}: {what}", contender.name()))) };
    let mut spent = Spent::default();
    let count = match row {
        Row::Put(size, count) => {
            let (content, keys) = (noise(size), (0..count).map(|n| format!("put/{n}")).collect::<Vec<_>>());
            let start = Watch::start();
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
            let start = Watch::start();
            for _ in 0..count {
                check(contender.get(&key).await? == size, "get: wrong length")?;
            }
            spent += start.elapsed();
            count
        }
        Row::Write(mib) => {
            let piece = noise(MIB);
            let start = Watch::start();
            contender.write("write", piece, mib).await?;
            spent += start.elapsed();
            check(contender.stat("write").await? == (mib * MIB) as u64, "write: wrong length")?;
            contender.delete("write").await?;
            1
        }
        Row::Read(mib) => {
            let start = Watch::start();
            check(contender.read(&format!("read/{mib}")).await? == mib * MIB, "read: wrong length")?;
            spent += start.elapsed();
            1
        }
        Row::Append(size, count) | Row::AppendOrPut(size, count) => {
            let content = noise(size);
            if matches!(row, Row::Append(..)) {
                contender.put("append", Bytes::new()).await?;
            }
            let mut appends = true;
            for n in 0..count {
                let start = Watch::start();
                match contender.append("append", (n * size) as u64, content.clone()) {
                    Some(append) => append.await?,
                    None if matches!(row, Row::Append(..)) => return Ok(None),
                    None => {
                        appends = false;
                        contender.put("append", content.clone()).await?;
                    }
                }
                spent += start.elapsed();
            }
            let size = if appends { count * size } else { size };
            check(contender.stat("append").await? == size as u64, "append: wrong length")?;
            contender.delete("append").await?;
            count
        }
        Row::StatMissing(count) => {
            let start = Watch::start();
            for _ in 0..count {
                check(contender.stat("get/missing").await.is_err(), "stat: found what is missing")?;
            }
            spent += start.elapsed();
            count
        }
        Row::Stat(count) => {
            let start = Watch::start();
            for _ in 0..count {
                check(contender.stat("get/4096").await? == 4096, "stat: wrong length")?;
            }
            spent += start.elapsed();
            count
        }
        Row::List(children, count) => {
            let key = format!("list{children}/d");
            let start = Watch::start();
            for _ in 0..count {
                check(contender.list(&key).await? == children, "list: wrong number")?;
            }
            spent += start.elapsed();
            count
        }
        Row::Delete(count) => {
            let keys: Vec<_> = (0..count).map(|n| format!("delete/{n}")).collect();
            for key in &keys {
                contender.put(key, Bytes::new()).await?;
            }
            let start = Watch::start();
            for key in &keys {
                contender.delete(key).await?;
            }
            spent += start.elapsed();
            count
        }
    };
    let each = |all: f64| all / count as f64;
    Ok(Some(Spent { time: each(spent.time), cpu: each(spent.cpu) }))
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
