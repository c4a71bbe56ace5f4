//! What becomes of each parameter of a registry's configuration, as the engine sees it.

use std::sync::Arc;

use holdall::drivers::{S3Config, S3Driver};
use holdall::{Completion, ErrorKind, StorageDriver, WriteOptions};

use super::{KIB, MIB, data, open, path, stream};
use crate::support::s3::{Call, Config, Counts, Op, Outcome, S3Server};
use crate::support::tls::TlsFront;

/// These, after those that everybody has; the last of a name counts.
fn parameters(more: &[(&str, &str)]) -> S3Config {
    let common = [
        ("bucket", "bucket"),
        ("region", "us-east-1"),
        ("regionendpoint", "http://s3.test"),
        ("accesskey", "test-key"),
        ("secretkey", "test-secret"),
    ];
    S3Config::from_parameters(common.iter().chain(more).copied()).unwrap()
}

async fn driver(server: &S3Server, more: &[(&str, &str)]) -> S3Driver {
    open(parameters(more).http_connector(Arc::new(server.connector("driver")))).await
}

/// Goes through all that writes: an object, one of several parts, an uncommitted file with a segment, a move, a deletion.
async fn write_all(driver: &S3Driver) {
    driver.put_content(&path("/a"), "content".into()).await.unwrap();
    driver.write_stream(&path("/b"), 0, stream(&data(9 * MIB)), WriteOptions::default()).await.unwrap();
    let uncommitted = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
    driver.write_stream(&path("/c"), 0, stream(&data(100 * KIB)), uncommitted).await.unwrap();
    driver.commit(&path("/c")).await.unwrap();
    driver.move_to(&path("/a"), &path("/d")).await.unwrap();
    driver.delete(&path("/b")).await.unwrap();
    assert_eq!(driver.list(&path("/")).await.unwrap(), [path("/c"), path("/d")]);
    assert!(driver.get_content(&path("/c")).await.unwrap() == data(100 * KIB));
}

fn calls(server: &S3Server) -> Vec<Arc<Call>> {
    server.record().into_iter().map(|entry| entry.call).collect()
}

#[tokio::test]
async fn what_is_written_is_encrypted_owned_and_of_its_class() {
    for (key_id, algorithm, acl, internal) in [
        ("", "AES256", "bucket-owner-full-control", "bucket-owner-full-control"),
        ("arn:aws:kms:key/1", "aws:kms", "bucket-owner-read", "bucket-owner-read"),
        // Whoever may read the files may not read what is uncommitted.
        ("", "AES256", "public-read", ""),
    ] {
        let server = S3Server::new(Config::aws());
        let class_and_acl = [("storageclass", "STANDARD_IA"), ("objectacl", acl)];
        let more = [&[("encrypt", "true"), ("keyid", key_id)], &class_and_acl[..]].concat();
        write_all(&driver(&server, &more).await).await;
        for call in calls(&server) {
            let sent = [
                "x-amz-server-side-encryption",
                "x-amz-server-side-encryption-aws-kms-key-id",
                "x-amz-acl",
                "x-amz-storage-class",
            ]
            .map(|name| call.header(name).unwrap_or_default());
            let expected = match call.op {
                Op::PutObject if call.key.starts_with('~') => [algorithm, key_id, internal, ""],
                Op::PutObject | Op::CopyObject | Op::CreateMultipartUpload if !call.key.starts_with("~probe") => {
                    [algorithm, key_id, acl, "STANDARD_IA"]
                }
                Op::CreateMultipartUpload => continue,
                // AWS refuses these headers on parts.
                _ => [""; 4],
            };
            assert_eq!(sent, expected, "{:?} {}", call.op, call.key);
        }
        for key in server.keys() {
            assert_eq!(server.object(&key).unwrap().headers["x-amz-storage-class"], "STANDARD_IA", "{key}");
        }
        let counts = server.counts();
        let all = [Op::PutObject, Op::CopyObject, Op::CreateMultipartUpload, Op::UploadPart];
        assert!(all.iter().all(|op| counts.of(*op).requests > 0), "{counts:?}");
    }
}

#[tokio::test]
async fn without_them_nothing_of_the_kind_is_sent() {
    let server = S3Server::new(Config::aws());
    let none = [("encrypt", "false"), ("storageclass", "NONE"), ("objectacl", "")];
    write_all(&driver(&server, &none).await).await;
    let names = ["x-amz-server-side-encryption", "x-amz-acl", "x-amz-storage-class"];
    assert!(calls(&server).iter().all(|call| names.iter().all(|name| call.header(name).is_none())));
}

#[tokio::test]
async fn nothing_leaves_the_root_directory() {
    let server = S3Server::new(Config::aws());
    server.put("registry/ab", "another's");
    server.put("z", "another's");
    write_all(&driver(&server, &[("rootdirectory", "/registry/a/")]).await).await;
    for call in calls(&server).iter().filter(|call| call.op != Op::DeleteObjects) {
        let target = call.param("prefix").unwrap_or(&call.key);
        assert!(target.starts_with("registry/a/"), "{:?} of {target:?}", call.op);
    }
    assert_eq!(server.keys(), ["registry/a/c", "registry/a/d", "registry/ab", "z"]);
}

#[tokio::test]
async fn parts_are_of_the_chunk_size() {
    let server = S3Server::new(Config::aws());
    let driver = driver(&server, &[("chunksize", "6291456")]).await;
    server.reset();
    driver.write_stream(&path("/a"), 0, stream(&data(13 * MIB)), WriteOptions::default()).await.unwrap();
    let parts = calls(&server).into_iter().filter(|call| call.op == Op::UploadPart);
    assert_eq!(parts.map(|call| call.bytes_in).collect::<Vec<_>>(), [6 * MIB, 6 * MIB, MIB]);
}

#[tokio::test(start_paused = true)]
async fn copies_keep_to_their_threshold_their_size_and_their_number() {
    let server = S3Server::new(Config::aws());
    let sizes = [
        ("multipartcopythresholdsize", "12582912"),
        ("multipartcopychunksize", "10485760"),
        ("multipartcopymaxconcurrency", "2"),
    ];
    let driver = driver(&server, &sizes).await;
    driver.put_content(&path("/small"), data(12 * MIB).into()).await.unwrap();
    driver.put_content(&path("/large"), data(31 * MIB).into()).await.unwrap();
    server.reset();
    driver.move_to(&path("/small"), &path("/moved")).await.unwrap();
    let counts: Counts = server.counts();
    assert_eq!((counts.of(Op::CopyObject).requests, counts.of(Op::UploadPartCopy).requests), (1, 0));
    server.reset();
    let gate = server.gate_when(|call| call.op == Op::UploadPartCopy);
    let moving = tokio::spawn({
        let driver = driver.clone();
        async move { driver.move_to(&path("/large"), &path("/moved")).await }
    });
    gate.settle().await;
    for left in [4, 3, 2, 1] {
        assert_eq!(gate.waiting().len(), 2.min(left), "at once, of {left} that are left");
        gate.release("driver", Outcome::Do).await;
        gate.settle().await;
    }
    moving.await.unwrap().unwrap();
    let counts = server.counts();
    assert_eq!((counts.of(Op::CopyObject).requests, counts.of(Op::UploadPartCopy).requests), (0, 4));
    assert!(driver.get_content(&path("/moved")).await.unwrap() == data(31 * MIB));
}

#[tokio::test]
async fn requests_go_where_the_address_parameters_say() {
    for (more, host, start, tls) in [
        (&[][..], "s3.test", "/bucket/", false),
        (&[("regionendpoint", "s3.test")], "s3.test", "/bucket/", true),
        (&[("regionendpoint", "s3.test:9000"), ("secure", "false")], "s3.test:9000", "/bucket/", false),
        (&[("regionendpoint", "https://s3.test"), ("secure", "false")], "s3.test", "/bucket/", true),
        (&[("regionendpoint", "http://s3.test.a"), ("forcepathstyle", "true")], "s3.test.a", "/bucket/", false),
        (&[("regionendpoint", "http://s3.test.a"), ("forcepathstyle", "false")], "bucket.s3.test.a", "/", false),
    ] {
        assert_goes(more, host, start, tls, "us-east-1").await;
    }
    for (more, host, start) in [
        (&[][..], "bucket.s3.eu-west-1.amazonaws.com", "/"),
        (&[("forcepathstyle", "true")], "s3.eu-west-1.amazonaws.com", "/bucket/"),
        (&[("usedualstack", "true")], "bucket.s3.dualstack.eu-west-1.amazonaws.com", "/"),
        (&[("accelerate", "true")], "bucket.s3-accelerate.amazonaws.com", "/"),
        (&[("accelerate", "true"), ("usedualstack", "true")], "bucket.s3-accelerate.dualstack.amazonaws.com", "/"),
    ] {
        let aws = [&[("region", "eu-west-1")], more].concat();
        assert_goes(&aws, host, start, true, "eu-west-1").await;
    }
}

/// All requests go to this host, with the bucket in front of the key or not; by TLS, which signatures show, or without.
async fn assert_goes(more: &[(&str, &str)], host: &str, start: &str, tls: bool, region: &str) {
    let server = S3Server::new(Config { region: region.to_owned(), ..Config::aws() });
    let keys = [("bucket", "bucket"), ("accesskey", "test-key"), ("secretkey", "test-secret")];
    let config = match region {
        "us-east-1" => parameters(more),
        _ => S3Config::from_parameters(keys.iter().chain(more).copied()).unwrap(),
    };
    let driver = open(config.http_connector(Arc::new(server.connector("driver")))).await;
    driver.put_content(&path("/a"), "content".into()).await.unwrap();
    assert_eq!(driver.get_content(&path("/a")).await.unwrap(), "content");
    for call in calls(&server).iter().filter(|call| !call.key.is_empty()) {
        assert_eq!((call.host.as_str(), call.refused.as_ref()), (host, None), "{more:?}");
        assert_eq!(call.path, format!("{start}{}", call.key), "{more:?}");
        let unsigned = call.header("x-amz-content-sha256") == Some("UNSIGNED-PAYLOAD");
        assert_eq!(unsigned, tls, "{more:?}");
    }
}

#[tokio::test]
async fn the_session_token_and_the_user_agent_come_along() {
    let mut temporary = Config::aws();
    temporary.keys.values_mut().for_each(|key| key.token = Some("session".into()));
    let server = S3Server::new(temporary);
    let listener = server.listen().await.unwrap();
    let url = listener.url();
    let more = [("regionendpoint", &*url), ("sessiontoken", "session"), ("useragent", "registry/3 (test)")];
    write_all(&open(parameters(&more)).await).await;
    for call in calls(&server) {
        assert_eq!(call.header("user-agent"), Some("registry/3 (test)"), "{:?}", call.op);
        assert_eq!(call.header("x-amz-security-token"), Some("session"), "{:?}", call.op);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused_unless_verification_is_skipped() {
    let server = S3Server::new(Config::aws());
    let listener = server.listen().await.unwrap();
    let front = TlsFront::of(listener.address()).await.unwrap();
    let url = front.url();
    let verified = parameters(&[("regionendpoint", &url)]).max_retries(0);
    let error = S3Driver::open(verified).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error:?}");
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    assert_eq!(server.record().len(), 0, "nothing was sent");
    write_all(&open(parameters(&[("regionendpoint", &url), ("skipverify", "true")])).await).await;
}
