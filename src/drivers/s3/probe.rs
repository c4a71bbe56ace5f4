//! What an engine can do, found out by trying it at start-up.

use super::client::{Client, Cond};
use super::failure::Failure;
use super::head::ETag;
use super::keys::{Id, Keys};
use super::store::{Found, random};
use super::transport::Again;
use crate::error::{Error, Result};

/// An ETag that no object has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// Tries conditions, copies and the end of an upload on an object of its own. Where nothing may be written, nothing is
/// promised.
pub(super) async fn probe(client: &Client, keys: &Keys) -> Result<Found> {
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
        Ok(_) => try_out(client, &key, id, &etag, nothing, body).await,
        Err(failure) => Err(failure),
    };
    let deleted = client.delete(&key, Cond::Any).await;
    deleted.and(found).map_err(|failure| {
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
    body: impl Fn() -> object_store::PutPayload,
) -> std::result::Result<Found, Failure> {
    let refuses = |tried: std::result::Result<Box<str>, Failure>| match tried {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_precondition() => Ok(true),
        Err(failure) if failure.is_not_implemented() => Ok(false),
        Err(failure) => Err(failure),
    };
    let absent = client.put(key, body(), Cond::Absent, None, Again::Always).await;
    let unknown = absent.as_ref().is_err_and(Failure::is_not_implemented);
    found.conditional_put = refuses(absent)?
        && refuses(client.put(key, body(), Cond::Is(NO_ETAG), None, Again::Always).await)?
        && client.put(key, body(), Cond::Is(etag), None, Again::Always).await.is_ok();
    if unknown {
        client.without_conditions();
    }
    // The object itself shows what a DELETE did: some engines refuse it, others say 204 either way.
    let deleted = client.delete(key, Cond::Is(NO_ETAG)).await;
    found.conditional_delete = match deleted {
        Err(failure) if failure.is_precondition() => client.head(key).await?.is_some(),
        Err(failure) if failure.is_denied() || failure.is_lost() => return Err(failure),
        _ => false,
    };
    if client.head(key).await?.is_none() {
        client.put(key, body(), Cond::Any, None, Again::Always).await?;
    }
    // A Complete after an Abort must fail, also where an object is there.
    let etag = client.head(key).await?.map(|object| object.etag).unwrap_or_default();
    let upload = client.create_upload(key, id).await?;
    let copied = client.copy_part(key, &upload, 1, (key, &etag), None).await;
    found.copies = copied.is_ok();
    let part = match copied {
        Ok(part) => part,
        Err(failure) if failure.is_lost() || failure.is_not_begun() => {
            client.abort(key, &upload).await?;
            return Err(failure);
        }
        Err(_) => client.upload_part(key, &upload, 2, body()).await?,
    };
    client.abort(key, &upload).await?;
    let number = if found.copies { 1 } else { 2 };
    let part = ETag::new(&part);
    let completed = client.complete(key, &upload, std::iter::once((number, part.text())), Cond::Any).await;
    found.honest_complete = completed.is_err();
    Ok(found)
}
