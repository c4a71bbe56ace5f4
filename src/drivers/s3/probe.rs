//! What an engine can do, found out by trying it at start-up.

use super::client::{Client, Cond};
use super::failure::Failure;
use super::head::ETag;
use super::keys::{Id, Keys};
use super::store::Found;
use super::transport::Again;

/// An ETag that no object has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// Tries conditions, copies and the end of an upload on an object of its own. Where nothing may be written, nothing is
/// promised.
pub(super) async fn probe(client: &Client, keys: &Keys) -> Result<Found, Failure> {
    let nothing = Found { conditional_put: false, conditional_delete: false, honest_complete: false, copies: false };
    let id = Id::random()?;
    let key = keys.probe(id);
    let body = || bytes::Bytes::from(id.to_string()).into();
    let etag = match client.put(&key, body(), Cond::Any, None, Again::Always).await {
        Ok(etag) => etag,
        Err(failure) if failure.is_access_denied() => return Ok(nothing),
        Err(failure) => return Err(failure),
    };
    let found = try_out(client, &key, id, &etag, nothing, body).await;
    client.delete(&key, Cond::Any).await?;
    found
}

async fn try_out(
    client: &Client,
    key: &str,
    id: Id,
    etag: &str,
    mut found: Found,
    body: impl Fn() -> object_store::PutPayload,
) -> Result<Found, Failure> {
    let refuses = |tried: Result<Box<str>, Failure>| match tried {
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
