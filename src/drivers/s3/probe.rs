//! What an engine can do, found out by trying it at start-up.

use super::client::{Client, Cond};
use super::failure::Failure;
use super::head::ETag;
use super::keys::{Id, Keys};
use super::store::{Found, random};
use super::transport::{Again, Backoff};
use crate::error::{Error, Result};

/// An ETag that no object has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// Tries conditions, copies and the end of an upload on an object of its own. Where nothing may be written, nothing is
/// promised.
pub(super) async fn probe(client: &Client, keys: &Keys, max_retries: u32) -> Result<Found> {
    let nothing = Found { conditional_put: false, conditional_delete: false, honest_complete: false, copies: false };
    let id = random()?;
    let key = keys.probe(id);
    let body = || bytes::Bytes::from(id.to_string()).into();
    let etag = match client.put(&key, body(), Cond::Any, None, Again::Always).await {
        Ok(etag) => etag,
        Err(failure) if failure.is_access_denied() => {
            tracing::warn!(%failure, "nothing may be written to this bucket: it is only read");
            return Ok(nothing);
        }
        Err(failure) => return Err(failure.into()),
    };
    // Who may not list is not told what is not there.
    let found = match client.head(&keys.probe(random()?)).await {
        Ok(_) => try_out(client, &key, id, &etag, nothing, max_retries, body).await,
        Err(failure) => Err(failure),
    };
    let deleted = client.delete(&key, Cond::Any).await;
    found.and_then(|found| deleted.map(|()| found)).map_err(|failure| {
        let denied = failure.is_denied();
        let error = Error::from(failure);
        let detail =
            "objects may be put here; the driver must also read, list and delete them, and make uploads of parts";
        if denied { error.with_detail(detail) } else { error }
    })
}

async fn try_out(
    client: &Client,
    key: &str,
    id: Id,
    etag: &str,
    mut found: Found,
    max_retries: u32,
    body: impl Fn() -> object_store::PutPayload,
) -> std::result::Result<Found, Failure> {
    let refuses = |tried: std::result::Result<Box<str>, Failure>| match tried {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_precondition() => Ok(true),
        Err(failure) if failure.is_not_implemented() => Ok(false),
        Err(failure) => Err(failure),
    };
    let absent = client.put(key, body(), Cond::Absent, None, Again::Always).await;
    let other = client.put(key, body(), Cond::Is(NO_ETAG), None, Again::Always).await;
    let unknown = [&absent, &other].into_iter().any(|put| put.as_ref().is_err_and(Failure::is_not_implemented));
    found.conditional_put = refuses(absent)?
        && refuses(other)?
        && (!refuses(client.put(key, body(), Cond::Is(etag), None, Again::Always).await)?
            // A try that got no answer was done, where the object is another one since.
            || client.head(key).await?.is_some_and(|object| *object.etag != *etag));
    if unknown {
        client.without_conditions();
    }
    // The object itself shows what a DELETE did: some engines refuse it, others say 204 either way.
    let deleted = client.delete(key, Cond::Is(NO_ETAG)).await;
    found.conditional_delete = match deleted {
        Err(failure) if failure.is_precondition() => client.head(key).await?.is_some(),
        Err(failure) if failure.is_denied() || is_passing(&failure) => return Err(failure),
        _ => false,
    };
    if client.head(key).await?.is_none() {
        client.put(key, body(), Cond::Any, None, Again::Always).await?;
    }
    // A Complete after an Abort must fail, also where an object is there.
    let etag = client.head(key).await?.map(|object| object.etag).unwrap_or_default();
    let upload = client.create_upload(key, id).await?;
    let copied = persist(max_retries, || client.copy_part(key, &upload, 1, (key, &etag), None)).await;
    let part = match copied {
        Ok(part) => Ok((1, part)),
        Err(failure) if is_passing(&failure) => Err(failure),
        Err(_) => {
            let sent = persist(max_retries, || client.upload_part(key, &upload, 2, body())).await;
            sent.map(|part| (2, part))
        }
    };
    client.abort(key, &upload).await?;
    let (number, part) = part?;
    found.copies = number == 1;
    let part = ETag::new(&part);
    let complete = || client.complete(key, &upload, std::iter::once((number, part.text())), Cond::Any);
    found.honest_complete = match persist(max_retries, complete).await {
        Err(failure) if is_passing(&failure) => return Err(failure),
        completed => completed.is_err(),
    };
    Ok(found)
}

/// Whether it says nothing of what the engine can do.
fn is_passing(failure: &Failure) -> bool {
    failure.is_lost() || failure.is_not_begun()
}

/// Sends a request until it is answered.
async fn persist<T, F>(max_retries: u32, request: impl Fn() -> F) -> std::result::Result<T, Failure>
where
    F: Future<Output = std::result::Result<T, Failure>>,
{
    let mut pause = Backoff::new(max_retries);
    loop {
        match request().await {
            Err(failure) if is_passing(&failure) && pause.wait().await => {}
            answer => return answer,
        }
    }
}
