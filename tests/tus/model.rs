//! Any sequence of requests is answered as a plain model of the protocol says.

use proptest::prelude::*;

use super::*;

const MAX_SIZE: u64 = 16;

#[derive(Clone, Debug)]
enum Op {
    Post { length: Option<u64>, defers: bool, body: Option<usize> },
    Patch { upload: usize, offset: Offset, declares: Option<u64>, body: usize, chunked: bool },
    Head { upload: usize },
    Get { upload: usize },
    Delete { upload: usize },
}

#[derive(Clone, Copy, Debug)]
enum Offset {
    Current,
    Other(u64),
}

/// What the model knows of an upload that was created.
#[derive(Debug)]
struct Known {
    url: String,
    length: Option<u64>,
    content: Vec<u8>,
    terminated: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let length = || prop_oneof![Just(None), (0..=MAX_SIZE + 2).prop_map(Some)];
    let offset = prop_oneof![
        4 => Just(Offset::Current),
        1 => (0..=MAX_SIZE).prop_map(Offset::Other),
        1 => Just(Offset::Other(i64::MAX as u64)),
    ];
    let upload = || 0..4_usize;
    let body = || 0..20_usize;
    prop_oneof![
        2 => (length(), any::<bool>(), proptest::option::of(body()))
            .prop_map(|(length, defers, body)| Op::Post { length, defers, body }),
        6 => (upload(), offset, length(), body(), any::<bool>())
            .prop_map(|(upload, offset, declares, body, chunked)| Op::Patch { upload, offset, declares, body, chunked }),
        1 => upload().prop_map(|upload| Op::Head { upload }),
        1 => upload().prop_map(|upload| Op::Get { upload }),
        1 => upload().prop_map(|upload| Op::Delete { upload }),
    ]
}

/// Bytes that differ by their place and by the request that brought them.
fn bytes(length: usize, request: usize) -> Bytes {
    (0..length).map(|index| (request * 31 + index) as u8).collect()
}

impl Known {
    fn is_finished(&self) -> bool {
        self.length == Some(self.content.len() as u64)
    }

    /// What a chunk is answered, and what it changes.
    fn patch(&mut self, offset: u64, declares: Option<u64>, body: &[u8], announced: bool) -> u16 {
        let (current, size) = (self.content.len() as u64, body.len() as u64);
        if self.terminated {
            return 404;
        }
        if offset != current {
            return 409;
        }
        let room = declares.or(self.length).unwrap_or(MAX_SIZE).saturating_sub(offset);
        if announced && size > room {
            return 413;
        }
        match (declares, self.length) {
            (Some(declared), Some(length)) if declared != length => return 400,
            (Some(declared), None) if declared < current => return 400,
            (Some(declared), None) if declared > MAX_SIZE => return 413,
            (Some(declared), None) => self.length = Some(declared),
            _ => {}
        }
        self.content.extend(&body[..size.min(room) as usize]);
        if size > room { 413 } else { 204 }
    }
}

async fn run(rig: &Rig, ops: Vec<Op>) {
    let mut uploads: Vec<Known> = Vec::new();
    for (number, op) in ops.into_iter().enumerate() {
        let before = rig.state().await;
        let (answer, expected, changes) = match op.clone() {
            Op::Post { length, defers, body } => {
                let request =
                    length.into_iter().fold(tus("POST", "/files/"), |r, length| r.header("upload-length", length));
                let request = if defers { request.header("upload-defer-length", 1) } else { request };
                let request = if body.is_some() { request.header("content-type", CHUNK) } else { request };
                let content = bytes(body.unwrap_or(0), number);
                let answer = rig.send(request.body(Full::new(content.clone())).unwrap()).await;
                let expected = match length {
                    Some(_) if defers => 400,
                    None if !defers => 400,
                    Some(length) if length > MAX_SIZE => 413,
                    length if content.len() as u64 > length.unwrap_or(MAX_SIZE) => 413,
                    _ => 201,
                };
                if expected == 201 {
                    let url = answer.header("location").to_owned();
                    uploads.push(Known { url, length, content: content.to_vec(), terminated: false });
                }
                (answer, expected, expected == 201)
            }
            Op::Patch { upload, offset, declares, body, chunked } => {
                let Some(known) = uploads.get_mut(upload) else { continue };
                let offset = match offset {
                    Offset::Current => known.content.len() as u64,
                    Offset::Other(offset) => offset,
                };
                let request = patch(&known.url, offset);
                let request = declares.into_iter().fold(request, |r, length| r.header("upload-length", length));
                let content = bytes(body, number);
                let answer = if chunked {
                    let pieces: Vec<_> =
                        content.chunks(3).map(|piece| Ok(Frame::data(content.slice_ref(piece)))).collect();
                    let body: BoxedPieces = StreamBody::new(futures::stream::iter(pieces).boxed());
                    rig.send(request.body(body).unwrap()).await
                } else {
                    rig.send(request.body(Full::new(content.clone())).unwrap()).await
                };
                let held = known.content.len();
                let expected = known.patch(offset, declares, &content, !chunked);
                if expected == 204 {
                    assert_eq!(answer.header("upload-offset"), known.content.len().to_string(), "{op:?}");
                }
                (answer, expected, expected == 204 || known.content.len() > held || (chunked && declares.is_some()))
            }
            Op::Head { upload } => {
                let Some(known) = uploads.get(upload) else { continue };
                let answer = rig.send(tus("HEAD", &known.url).empty()).await;
                if !known.terminated {
                    assert_eq!(answer.header("upload-offset"), known.content.len().to_string());
                    match known.length {
                        Some(length) => assert_eq!(answer.header("upload-length"), length.to_string()),
                        None => assert_eq!(answer.header("upload-defer-length"), "1"),
                    }
                }
                (answer, if known.terminated { 404 } else { 200 }, false)
            }
            Op::Get { upload } => {
                let Some(known) = uploads.get(upload) else { continue };
                let answer = rig.send(tus("GET", &known.url).empty()).await;
                let expected = match known {
                    Known { terminated: true, .. } => 404,
                    known if known.is_finished() => 200,
                    _ => 409,
                };
                if expected == 200 {
                    assert_eq!(answer.body, known.content, "{op:?}");
                }
                // It may end an upload whose last request failed after its last byte.
                (answer, expected, expected == 200)
            }
            Op::Delete { upload } => {
                let Some(known) = uploads.get_mut(upload) else { continue };
                let answer = rig.send(tus("DELETE", &known.url).empty()).await;
                let gone = std::mem::replace(&mut known.terminated, true);
                (answer, if gone { 404 } else { 204 }, !gone)
            }
        };
        assert_eq!(answer.status, expected, "{op:?} {answer:?} {uploads:?}");
        if !changes {
            assert_eq!(rig.state().await, before, "{op:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_requests(ops in proptest::collection::vec(op(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for rig in Rig::each_with(|store| store.max_size(MAX_SIZE), |tus| tus) {
                run(&rig, ops.clone()).await;
            }
        });
    }
}
