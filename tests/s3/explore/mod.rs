//! Actors on one path, with every order of their requests, and with answers that get lost and requests that land late.
//!
//! A run is told by its choices: at each step which request is done next, and what becomes of it. The explorer begins with
//! the run without choices, and goes back to every step of every run for what else could have been chosen there. A state that was
//! met before (the bucket, what each actor knows, what is under way, what callers may see) is not gone on from again, so
//! that the orders of two actors' requests are all tried in some thousand runs. Whoever is never chosen again has crashed: in every
//! state the actors are left as they are, and fresh clients try what can still be done, on a copy of the bucket.
//!
//! Each scenario is tried without faults and with, the fewest changes of turn first, for `HOLDALL_TEST_RUNS` runs each (50 by
//! default, times the weight of the scenario; 0: all).

mod monitor;
mod scenarios;
mod world;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdall::StoragePath;
use holdall::drivers::S3Driver;

use self::monitor::{Answer, Monitor, Op, Slot, Text, Views};
use self::world::{
    Actor, Do, Event, Origins, SYMBOL, Switch, call, digest, is_other, local_listing, show, store_others,
};
use super::{MIB, config, open, path};
use crate::support::rng::Rng;
use crate::support::s3::{Call, Config, Failure, Gate, Late, Op as Request, Outcome, S3Server};

/// Long enough that only the test decides what is late.
const NEVER: Duration = Duration::from_secs(1 << 40);

/// What is tried.
struct Scenario {
    scripts: Vec<Vec<Do>>,
    /// Symbols of an uncommitted file that is there before.
    start: Option<usize>,
    /// Whether it is complete.
    complete: bool,
    /// How many answers get lost, and requests land late.
    faults: usize,
    /// Which requests that happens to.
    fails: fn(&Call) -> bool,
    /// How many times the usual number of runs it takes to meet what it is for.
    weight: usize,
    /// Symbols in a part, and in a head.
    part: usize,
    inline: usize,
    engine: Config,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// A request of an actor has this outcome.
    Request(usize, usize, Outcome),
    /// A request lands whose caller has given up.
    Lands(usize),
}

/// A request that its caller has given up.
struct Astray {
    late: Late,
    slot: Slot,
    origin: u64,
}

/// A driver, and the server that it talks to at the moment.
struct Client {
    driver: S3Driver,
    server: Arc<Mutex<S3Server>>,
}

impl Client {
    fn goes_to(&self, server: &S3Server) -> &S3Driver {
        *self.server.lock().unwrap() = server.clone();
        &self.driver
    }
}

struct Explorer {
    scenario: Scenario,
    monitor: Monitor,
    /// Empty, and tried out.
    blank: S3Server,
    /// The actors, who comes before them, and who looks after them.
    actors: Vec<Client>,
    before: Client,
    after: Client,
    seen: HashSet<u64>,
    probed: HashSet<u64>,
    /// Whether every state is tried in all ways.
    thorough: bool,
    runs: usize,
}

impl Drop for Explorer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in run {} of {} states", self.runs, self.seen.len());
        }
    }
}

impl Explorer {
    async fn new(scenario: Scenario) -> Self {
        // Signatures are checked elsewhere.
        let engine = Config { public: true, ..scenario.engine.clone() };
        let blank = S3Server::new(engine.scaled((scenario.part * SYMBOL) as u64));
        let client = async |name: &str| {
            let server = Arc::new(Mutex::new(blank.clone()));
            let switch = Switch { client: name.to_owned(), server: Arc::clone(&server) };
            let part = (scenario.part * SYMBOL) as u64;
            let config = config(&blank)
                .http_connector(Arc::new(switch))
                .min_part_size(part)
                .part_size(part)
                .copy_part_size(2 * part)
                .copy_threshold(2 * part)
                .inline_limit((scenario.inline * SYMBOL) as u64)
                .memory_budget(MIB)
                .head_cache(16 << 10)
                .concurrency(1)
                .timeout(NEVER)
                .checkpoint_interval(NEVER);
            Client { driver: open(config).await, server }
        };
        let mut actors = Vec::new();
        for name in ["A", "B", "C"].iter().take(scenario.scripts.len()) {
            actors.push(client(name).await);
        }
        let (before, after) = (client("before").await, client("after").await);
        let (seen, probed) = (HashSet::new(), HashSet::new());
        Self {
            monitor: Monitor::new(scenario.part),
            scenario,
            blank,
            actors,
            before,
            after,
            seen,
            probed,
            thorough: false,
            runs: 0,
        }
    }

    /// Tries all runs, or `most`, with so many faults in each.
    async fn explore(&mut self, faults: usize, most: usize) -> bool {
        self.thorough = most == 0;
        let (mut todo, mut random, first) = (Todo::from([(0, vec![Vec::new()])]), Rng::new(1), self.runs);
        while let Some(mut easiest) = todo.first_entry() {
            let runs = easiest.get_mut();
            let choices = runs.swap_remove(random.below(runs.len() as u64) as usize);
            if runs.is_empty() {
                easiest.remove();
            }
            if most > 0 && self.runs - first >= most {
                return false;
            }
            self.runs += 1;
            let mut run = Run::new(self, faults).await;
            run.go(choices, &mut todo).await;
        }
        true
    }
}

/// What is still to be tried, by how often the turn passes from one to another who could not go on, or something fails: what goes
/// wrong at all mostly goes wrong after few of these.
type Todo = BTreeMap<usize, Vec<Vec<usize>>>;

/// One run.
struct Run<'a> {
    of: &'a mut Explorer,
    path: StoragePath,
    server: S3Server,
    actors: Vec<Actor>,
    gate: Gate,
    origins: Origins,
    views: Views,
    astray: Vec<Astray>,
    /// Calls that failed while requests of theirs are astray.
    zombies: HashSet<Slot>,
    faults: usize,
    /// Whose turn it is.
    turn: usize,
    trace: Vec<String>,
}

impl<'a> Run<'a> {
    async fn new(of: &'a mut Explorer, faults: usize) -> Self {
        let (path, server) = (path(&format!("/f{}", of.runs)), of.blank.fork());
        let mut views = Monitor::start();
        if let Some(length) = of.scenario.start {
            let driver = of.before.goes_to(&server);
            let appends = std::iter::once(0..0).chain((0..length).map(|at| at..at + 1));
            let appends =
                appends.map(|at| Op::Append { at: Some(at.start), text: b"abcdef"[at].to_vec(), whole: None });
            for op in appends.chain(of.scenario.complete.then_some(Op::Commit)) {
                views = of.monitor.invoke(&views, (9, 0), &op);
                let answer = call(driver, &server, &path, &op).await;
                views = of.monitor.answer(&views, (9, 0), &answer).unwrap();
            }
        }
        of.scenario.scripts.iter().for_each(|script| store_others(&server, &path, script));
        let origins = Origins::new(&server);
        let gate = server.gate();
        let clients = of.actors.iter().zip(&of.scenario.scripts).enumerate();
        let actors = clients.map(|(n, (client, script))| {
            let driver = client.goes_to(&server).clone();
            Actor::new(n, driver, &server, &path, script)
        });
        let actors = actors.collect();
        Self {
            of,
            path,
            server,
            actors,
            gate,
            origins,
            views,
            astray: Vec::new(),
            zombies: HashSet::new(),
            faults,
            turn: 0,
            trace: Vec::new(),
        }
    }

    /// Goes the way of `choices`, then on until a state that was met before.
    async fn go(&mut self, mut choices: Vec<usize>, todo: &mut Todo) {
        for n in 0..self.actors.len() {
            self.go_on(n).await;
        }
        let (told, mut cost) = (choices.len(), 0);
        for at in 0.. {
            let mut moves = self.moves();
            let costs = |next: &Move| match next {
                Move::Request(n, _, outcome) => usize::from(*n != self.turn) + usize::from(*outcome != Outcome::Do),
                Move::Lands(_) => 1,
            };
            moves.sort_by_key(costs);
            // Somebody has to go on.
            let least = moves.first().map_or(0, costs);
            let costs: Vec<usize> = moves.iter().map(|next| cost + costs(next) - least).collect();
            let choice = match choices.get(at) {
                Some(choice) => *choice,
                None => {
                    if !self.of.seen.insert(self.state()) {
                        break;
                    }
                    self.probe().await;
                    for (other, cost) in costs.iter().enumerate().skip(1) {
                        let choices = choices.iter().copied().chain([other]).collect();
                        todo.entry(*cost).or_default().push(choices);
                    }
                    choices.push(0);
                    0
                }
            };
            let Some(next) = moves.get(choice) else {
                assert!(at >= told, "another run than before: {:#?}", self.trace);
                break;
            };
            cost = costs[choice];
            if let Move::Request(n, ..) = next {
                self.turn = *n;
            }
            self.make(*next).await;
        }
        self.actors.clear();
    }

    fn state(&self) -> u64 {
        let actors: Vec<_> = self.actors.iter().map(Actor::state).collect();
        let mut astray: Vec<_> = self.astray.iter().map(|astray| (astray.slot, astray.origin)).collect();
        astray.sort();
        let mut zombies: Vec<_> = self.zombies.iter().collect();
        zombies.sort();
        digest(&(self.origins.state(&self.path), actors, astray, zombies, self.faults, &self.views))
    }

    /// What can happen next, in the same order in every run.
    fn moves(&self) -> Vec<Move> {
        let sweeper = self.of.scenario.scripts.iter().any(|script| sweeps(script).is_some());
        let mut all = Vec::new();
        for (n, actor) in self.actors.iter().enumerate() {
            for (m, waiting) in actor.waiting.iter().enumerate() {
                let call = &waiting.call;
                let mut moves = vec![Move::Request(n, m, Outcome::Do)];
                if self.faults > 0 && (self.of.scenario.fails)(call) {
                    moves.push(Move::Request(n, m, Outcome::Lost(Failure::Timeout)));
                    // A PutObject or DeleteObject of the file itself can't be fenced: they end within their time-out.
                    let fenced = call.key.contains('~') || call.param("uploadId").is_some() || call.key.is_empty();
                    if fenced || call.op == Request::CreateMultipartUpload {
                        moves.push(Move::Request(n, m, Outcome::Late(Failure::Timeout)));
                    }
                }
                // What nobody else can notice need not wait for its turn.
                let local = match call.op {
                    Request::ListObjectsV2 => local_listing(call.param("prefix").unwrap_or_default(), &self.path),
                    Request::PutObject => !sweeper && call.key.contains("~segment"),
                    Request::CreateMultipartUpload => !sweeper,
                    _ => false,
                };
                if local {
                    return moves;
                }
                all.extend(moves);
            }
        }
        all.extend((0..self.astray.len()).map(Move::Lands));
        all
    }

    async fn make(&mut self, next: Move) {
        match next {
            Move::Request(n, m, outcome) => {
                let actor = &mut self.actors[n];
                if let Some(op) = actor.begins.take() {
                    self.views = self.of.monitor.invoke(&self.views, actor.slot, &op);
                }
                let (pending, origin) = actor.take(m, &self.gate);
                let request = Arc::new(pending.call().clone());
                if let Some(young) = sweeps(&self.of.scenario.scripts[n]) {
                    // The worst for those who are only slow: all is old, but perhaps the heads.
                    self.server.age_when(Duration::from_secs(7200), |key| !young || !key.contains("~head"));
                }
                let seen = self.origins.seen_by(&request, &self.path);
                let status = pending.release(outcome);
                if let Some(status) = status {
                    self.origins.done(&self.server, &request, status, origin);
                }
                let told = status.filter(|_| outcome == Outcome::Do).map(|status| (status.as_u16(), seen));
                actor.learn(&(origin, told));
                if matches!(outcome, Outcome::Late(_)) {
                    let late = self.server.take_late().pop().unwrap();
                    self.astray.push(Astray { late, slot: actor.slot, origin });
                }
                self.faults -= usize::from(outcome != Outcome::Do);
                let status = status.map(|status| status.as_u16());
                let line = format!("{} {} {outcome:?} -> {status:?}", actor.name, show(&request, &self.path));
                self.trace.push(line);
                self.go_on(n).await;
            }
            Move::Lands(n) => {
                let Astray { late, slot, origin } = self.astray.remove(n);
                let request = late.call().clone();
                let status = late.land();
                self.origins.done(&self.server, &request, status, origin);
                self.trace.push(format!("late {} -> {status}", show(&request, &self.path)));
                if self.astray.iter().all(|astray| astray.slot != slot) && self.zombies.remove(&slot) {
                    self.views = self.of.monitor.end(&self.views, Some(slot));
                }
            }
        }
    }

    /// An actor goes on, and its caller sees what it answers.
    async fn go_on(&mut self, n: usize) {
        let actor = &mut self.actors[n];
        for event in actor.go_on(&self.gate).await {
            match event {
                Event::Called(op) => {
                    actor.slot.1 += 1;
                    self.trace.push(format!("{} calls {}", actor.name, describe(&op)));
                    actor.begins = Some(op);
                }
                Event::Answered(answer) => {
                    let slot = actor.slot;
                    self.trace.push(format!("{} got {answer:?}", actor.name));
                    if answer != Answer::Failed {
                        match self.of.monitor.answer(&self.views, slot, &answer) {
                            Some(views) => self.views = views,
                            None => panic!("no order of the calls explains this answer: {:#?}", self.trace),
                        }
                    } else if self.astray.iter().any(|astray| astray.slot == slot) {
                        self.zombies.insert(slot);
                    } else {
                        self.views = self.of.monitor.end(&self.views, Some(slot));
                    }
                }
            }
        }
    }

    /// Everybody has crashed: what can fresh clients do? One of three, each state in turn, unless all runs are tried.
    async fn probe(&mut self) {
        let state = digest(&(self.origins.state(&self.path), &self.views));
        if !self.of.probed.insert(state) {
            return;
        }
        let views = self.of.monitor.end(&self.views, None);
        for way in 0..3 {
            if !self.of.thorough && self.of.probed.len() % 3 != way {
                continue;
            }
            let (server, trace) = (self.server.fork(), self.trace.clone());
            let mut probe = Probe { of: self.of, path: &self.path, views: views.clone(), server, trace };
            probe.trace.push("-- all dead --".to_owned());
            match way {
                0 => probe.goes_on().await,
                1 => probe.ends(&[Op::Stat, Op::Read, Op::Delete, Op::Stat, Op::Sweep(false), Op::Stat]).await,
                _ => probe.ends(&[Op::Sweep(false), Op::Stat, Op::Read, Op::Delete, Op::Sweep(false), Op::Stat]).await,
            }
        }
    }
}

/// A fresh client, alone on a copy of the bucket.
struct Probe<'a> {
    of: &'a mut Explorer,
    path: &'a StoragePath,
    views: Views,
    server: S3Server,
    trace: Vec<String>,
}

impl Probe<'_> {
    async fn call(&mut self, op: Op) -> Answer {
        let slot = (8, 0);
        self.views = self.of.monitor.invoke(&self.views, slot, &op);
        if matches!(op, Op::Sweep(_)) {
            self.server.age(Duration::from_secs(7200));
        }
        let answer = call(self.of.after.goes_to(&self.server), &self.server, self.path, &op).await;
        self.trace.push(format!("{} -> {answer:?}", describe(&op)));
        self.views = match &answer {
            Answer::Failed => self.of.monitor.end(&self.views, Some(slot)),
            told => match self.of.monitor.answer(&self.views, slot, told) {
                Some(views) => views,
                None => panic!("no order of the calls explains what a fresh client finds: {:#?}", self.trace),
            },
        };
        answer
    }

    /// The file can be gone on with and completed, or deleted where it is empty.
    async fn goes_on(&mut self) {
        let mut found = [self.call(Op::Stat).await, self.call(Op::Read).await];
        for turn in 0.. {
            assert!(turn < 4, "neither appends nor commits succeed: {:#?}", self.trace);
            let mut appended = Answer::Ok;
            if !matches!(found[1], Answer::Text(_)) {
                let size = if let Answer::Size(size) = found[0] { size } else { 0 };
                if turn > 0 && size == 0 {
                    self.call(Op::Delete).await;
                }
                appended = self.call(Op::Append { at: Some(size), text: vec![b'0' + turn], whole: None }).await;
            }
            let done = appended == Answer::Ok && self.call(Op::Commit).await == Answer::Ok;
            found = [self.call(Op::Stat).await, self.call(Op::Read).await];
            if done {
                break;
            }
        }
        self.call(Op::Sweep(false)).await;
        self.call(Op::Read).await;
        let object = self.path.as_str()[1..].to_owned();
        self.nothing_but(&[object]).await;
    }

    /// After these nothing is left.
    async fn ends(&mut self, ops: &[Op]) {
        for op in ops {
            self.call(op.clone()).await;
        }
        self.nothing_but(&[]).await;
    }

    async fn nothing_but(&mut self, keys: &[String]) {
        if self.of.scenario.engine.ignore_delete_if_match {
            // A head that a sweep leaves behind dead is taken by the next one.
            self.call(Op::Sweep(false)).await;
        }
        let left = self.server.keys().into_iter().filter(|key| !is_other(key)).collect::<Vec<_>>();
        let left = (left, self.server.uploads().len());
        assert_eq!(left, (keys.to_vec(), 0), "left behind: {:#?}", self.trace);
    }
}

/// Whether this is a sweeper, and spares heads.
fn sweeps(script: &[Do]) -> Option<bool> {
    script.iter().find_map(|step| match step {
        Do::Call(Op::Sweep(young)) => Some(*young),
        _ => None,
    })
}

/// A call, with its text readable.
fn describe(op: &Op) -> String {
    let text = |text: &Text| String::from_utf8_lossy(text).into_owned();
    match op {
        Op::Append { at, text: new, whole } => format!("Append({at:?}, {:?}, {whole:?})", text(new)),
        Op::Whole(new) => format!("Whole({:?})", text(new)),
        Op::Rewrite { size, at, text: new, whole } => format!("Rewrite({size}, {at}, {:?}, {whole:?})", text(new)),
        Op::Put(new) => format!("Put({:?})", text(new)),
        other => format!("{other:?}"),
    }
}
