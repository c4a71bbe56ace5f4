//! What the protocol promises to a client that keeps to it.

use http::uri::Scheme;

use super::*;

#[tokio::test]
async fn an_upload_in_pieces_ends_whole() {
    for rig in Rig::each() {
        let metadata = "filename d29ybGQucGRm,is_confidential,bin /wCA";
        let create = tus("POST", "/files/").header("upload-length", 10).header("upload-metadata", metadata).empty();
        let created = rig.send(create).await;
        assert_eq!((created.status.as_u16(), created.header("tus-resumable")), (201, "1.0.0"));
        assert!(created.body.is_empty() && !created.has("upload-offset"));
        let url = created.header("location");
        assert_eq!((url.strip_prefix("/files/").unwrap().len(), url.contains("//")), (32, false));

        let head = rig.send(tus("HEAD", url).empty()).await;
        assert_eq!((head.status.as_u16(), head.header("cache-control")), (200, "no-store"));
        assert_eq!((head.header("upload-offset"), head.header("upload-length")), ("0", "10"));
        assert_eq!((head.header("upload-metadata"), head.header("tus-resumable")), (metadata, "1.0.0"));
        assert!(head.body.is_empty() && !head.has("upload-defer-length") && !head.has("upload-concat"));

        rig.append(url, 0, "01234").await;
        rig.append(url, 5, "").await;
        assert_eq!(rig.offset(url).await, 5);
        let chunked = rig.send(patch(url, 5).pieces(vec![Ok("56"), Ok(""), Ok("789")])).await;
        assert_eq!((chunked.status.as_u16(), chunked.header("upload-offset")), (204, "10"));
        assert_eq!(rig.send(tus("GET", url).empty()).await.text(), "0123456789");
        assert_eq!(rig.send(tus("HEAD", url).empty()).await.header("upload-metadata"), metadata);
    }
}

#[tokio::test]
async fn a_length_of_zero_is_finished_at_once() {
    for rig in Rig::each() {
        for content_type in [None, Some(CHUNK), Some("application/x-www-form-urlencoded")] {
            let request = tus("POST", "/files/").header("upload-length", 0).header("upload-metadata", "");
            let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
            let created = rig.send(request.empty()).await;
            assert_eq!(created.status, 201, "{created:?}");
            let url = created.header("location");
            assert_eq!(rig.offset(url).await, 0);
            let read = rig.send(tus("GET", url).empty()).await;
            assert_eq!((read.status.as_u16(), read.text()), (200, ""));
            assert!(!rig.send(tus("HEAD", url).empty()).await.has("upload-metadata"));
        }
    }
}

#[tokio::test]
async fn clients_that_always_send_a_content_type_can_create() {
    for rig in Rig::each() {
        let create =
            || tus("POST", "/files/").header("upload-length", 4).header("content-type", "application/octet-stream");
        for answer in [rig.send(create().empty()).await, rig.send(create().pieces(vec![Ok("")])).await] {
            assert_eq!(answer.status, 201, "{answer:?}");
            assert_eq!(rig.offset(answer.header("location")).await, 0);
        }
    }
}

#[tokio::test]
async fn a_creation_can_bring_the_first_bytes() {
    for rig in Rig::each() {
        let create = || tus("POST", "/files/").header("upload-length", 10).header("content-type", CHUNK);
        for created in
            [rig.send(create().full("0123")).await, rig.send(create().pieces(vec![Ok("01"), Ok("23")])).await]
        {
            assert_eq!((created.status.as_u16(), created.header("upload-offset")), (201, "4"));
            rig.append(created.header("location"), 4, "456789").await;
        }
        let empty = rig.send(create().empty()).await;
        assert_eq!((empty.status.as_u16(), empty.header("upload-offset")), (201, "0"));
    }
}

#[tokio::test]
async fn a_creation_whose_body_breaks_leaves_an_upload_to_go_on_with() {
    for rig in Rig::each() {
        let request = tus("POST", "/files/").header("upload-length", 10).header("content-type", CHUNK);
        let answer = rig.send(request.pieces(vec![Ok("0123"), Err("cut")])).await;
        answer.assert_error(503, "broke off");
        let url = answer.header("location");
        assert_eq!(rig.offset(url).await, 4);
        rig.append(url, 4, "456789").await;
    }
}

#[tokio::test]
async fn a_chunk_whose_body_breaks_is_kept_as_far_as_it_came() {
    for rig in Rig::each() {
        let url = rig.create(10).await;
        rig.send(patch(&url, 0).pieces(vec![Ok("01"), Ok("23"), Err("cut")])).await.assert_error(503, "broke off");
        assert_eq!(rig.offset(&url).await, 4);
        rig.append(&url, 4, "456789").await;
        assert_eq!(rig.send(tus("GET", &url).empty()).await.text(), "0123456789");
    }
}

#[tokio::test]
async fn a_deferred_length_is_declared_by_a_chunk() {
    for rig in Rig::each() {
        let created = rig.send(tus("POST", "/files/").header("upload-defer-length", 1).empty()).await;
        let url = created.header("location");
        let head = rig.send(tus("HEAD", url).empty()).await;
        assert_eq!((head.header("upload-defer-length"), head.has("upload-length")), ("1", false));
        rig.append(url, 0, "0123").await;
        rig.send(tus("GET", url).empty()).await.assert_error(409, "not finished");

        let declared = rig.send(patch(url, 4).header("upload-length", 6).full("4")).await;
        assert_eq!((declared.status.as_u16(), declared.header("upload-offset")), (204, "5"));
        let head = rig.send(tus("HEAD", url).empty()).await;
        assert_eq!((head.header("upload-length"), head.has("upload-defer-length")), ("6", false));
        // The same length again is no change: a client may repeat itself after a cut.
        let last = rig.send(patch(url, 5).header("upload-length", 6).full("5")).await;
        assert_eq!((last.status.as_u16(), last.header("upload-offset")), (204, "6"));
        assert_eq!(rig.send(tus("GET", url).empty()).await.text(), "012345");
    }
}

#[tokio::test]
async fn an_empty_chunk_can_declare_that_all_is_there() {
    for rig in Rig::each() {
        let created = rig.send(tus("POST", "/files/").header("upload-defer-length", 1).empty()).await;
        let url = created.header("location");
        rig.append(url, 0, "0123").await;
        let answer = rig.send(patch(url, 4).header("upload-length", 4).empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (204, "4"));
        assert_eq!(rig.send(tus("GET", url).empty()).await.text(), "0123");
    }
}

#[tokio::test]
async fn a_terminated_upload_is_gone_with_all_that_it_held() {
    for rig in Rig::each() {
        for url in [rig.create(10).await, rig.finished("", "0123").await] {
            let answer = rig.send(tus("DELETE", &url).empty()).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
            for method in ["HEAD", "DELETE", "GET"] {
                assert_eq!(rig.send(tus(method, &url).empty()).await.status, 404, "{method}");
            }
            assert_eq!(rig.send(patch(&url, 0).full("x")).await.status, 404);
        }
        assert_eq!(rig.state().await, []);
    }
}

#[tokio::test]
async fn options_tell_what_the_server_can_do_without_a_version() {
    for rig in Rig::each_with(|store| store.max_size(1000), |tus| tus) {
        for url in ["/files/", "/files", "/files/abc", "/files/no/such", "*"] {
            let answer = rig.send(Request::builder().method("OPTIONS").uri(url).empty()).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
            assert_eq!((answer.header("tus-version"), answer.header("tus-max-size")), ("1.0.0", "1000"));
            assert_eq!(
                answer.header("tus-extension"),
                "creation,creation-with-upload,creation-defer-length,termination"
            );
            assert!(!answer.has("tus-resumable"));
        }
        let versioned = rig.send(tus("OPTIONS", "/files/").header("tus-resumable", "0.1").empty()).await;
        assert_eq!(versioned.status, 204);
    }
    assert!(!Rig::each()[0].send(tus("OPTIONS", "/files/").empty()).await.has("tus-max-size"));
}

#[tokio::test]
async fn the_override_counts_instead_of_the_method() {
    for rig in Rig::each() {
        let url = rig.create(4).await;
        let answer =
            rig.send(patch(&url, 0).method("POST").header("x-http-method-override", "PATCH").full("0123")).await;
        assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (204, "4"));
        let answer = rig.send(tus("GET", &url).header("x-http-method-override", "HEAD").empty()).await;
        assert_eq!((answer.header("upload-offset"), answer.text()), ("4", ""));
        let answer = rig.send(tus("PATCH", &url).header("x-http-method-override", "DELETE").empty()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(rig.state().await, []);
    }
}

#[tokio::test]
async fn locations_are_paths_or_absolute_as_configured() {
    let absolute = |tus: TusBuilder| tus.absolute_locations(Scheme::HTTPS).base_path("/up").unwrap();
    for rig in Rig::each_with(|store| store, absolute) {
        for (url, host, location) in [
            ("/up/", Some("example.org"), "https://example.org/up/"),
            ("/up", Some("example.org:8443"), "https://example.org:8443/up/"),
            ("http://h2.example.org/up/", Some("other"), "https://h2.example.org/up/"),
            ("/up/", Some("not a/host"), "/up/"),
            ("/up/", None, "/up/"),
        ] {
            let request = host.into_iter().fold(tus("POST", url), |request, host| request.header("host", host));
            let answer = rig.send(request.header("upload-length", 1).empty()).await;
            let id = answer.header("location").strip_prefix(location).unwrap_or_else(|| panic!("{answer:?}"));
            assert_eq!(id.len(), 32);
            assert_eq!(rig.offset(&format!("/up/{id}")).await, 0);
        }
    }
}

#[tokio::test]
async fn a_nested_service_takes_paths_without_the_base_and_sends_them_with_it() {
    for rig in Rig::each_with(|store| store, |tus| tus.base_path("/api/files/").unwrap().nested()) {
        let answer = rig.send(tus("POST", "/").header("upload-length", 1).empty()).await;
        let id = answer.header("location").strip_prefix("/api/files/").unwrap();
        assert_eq!(rig.offset(&format!("/{id}")).await, 0);
        rig.send(tus("PATCH", answer.header("location")).empty()).await.assert_error(404, "/api/files/<id>");
    }
}

#[tokio::test]
async fn axum_mounts_it_nested_and_by_routes() {
    let store = || UploadStore::new(Arc::new(InMemoryDriver::new()));
    let nested = TusService::builder(store()).base_path("/api/files/").unwrap().nested().build();
    let nested = axum::Router::new().nest_service("/api/files", nested);
    let whole = TusService::builder(store()).base_path("/api/files/").unwrap().build();
    let whole = axum::Router::new().route_service("/api/files/", whole.clone()).route_service("/api/files/{id}", whole);
    for app in [nested, whole] {
        let create = tus("POST", "/api/files/").header("upload-length", 4).full("");
        let created = app.clone().oneshot(create.map(axum::body::Body::new)).await.unwrap();
        assert_eq!(created.status(), 201);
        let url = created.headers()["location"].to_str().unwrap();
        let patched = app.clone().oneshot(patch(url, 0).full("0123").map(axum::body::Body::new)).await.unwrap();
        assert_eq!((patched.status().as_u16(), &patched.headers()["upload-offset"]), (204, &"4".parse().unwrap()));
        let read = app.oneshot(tus("GET", url).full("").map(axum::body::Body::new)).await.unwrap();
        assert_eq!(read.into_body().collect().await.unwrap().to_bytes(), "0123");
    }
}

#[tokio::test]
async fn a_verb_is_a_service_of_its_own_and_can_be_left_out() {
    use holdall::tus::Verb;
    for rig in Rig::each_with(|store| store, |tus| tus.without(Verb::Get).without(Verb::Delete)) {
        let url = rig.finished("", "0123").await;
        for request in [
            tus("GET", &url),
            tus("DELETE", &url),
            tus("HEAD", &url).header("x-http-method-override", "GET"),
            tus("POST", &url).header("x-http-method-override", "DELETE"),
        ] {
            let answer = rig.send(request.empty()).await;
            answer.assert_error(405, "these are: HEAD, PATCH, OPTIONS");
            assert_eq!(answer.header("allow"), "HEAD, PATCH, OPTIONS");
        }
        let options = rig.send(tus("OPTIONS", &url).empty()).await;
        assert_eq!(options.header("tus-extension"), "creation,creation-with-upload,creation-defer-length");

        let read = rig.tus.verb(Verb::Get).oneshot(tus("POST", &url).empty()).await.unwrap();
        assert_eq!(read.into_body().collect().await.unwrap().to_bytes(), "0123");
        let gone = rig.tus.verb(Verb::Delete).oneshot(tus("POST", &url).empty()).await.unwrap();
        assert_eq!(gone.status(), 204);
        assert_eq!(rig.state().await, []);
    }
}
