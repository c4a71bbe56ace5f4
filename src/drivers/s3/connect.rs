//! What a configuration comes to: how requests reach the bucket, who signs them, and what goes with them.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpConnector, ReqwestConnector};

use super::config::{Credentials, InvalidS3Config, S3Config, S3Encryption};
use super::transport::Transport;

/// What carries requests, and what signs URLs for the outside.
///
/// # Errors
/// A configuration that can't be honoured.
pub(super) fn connect(config: &S3Config) -> Result<(Transport, AmazonS3), InvalidS3Config> {
    let invalid = |parameter| move |cause: object_store::Error| InvalidS3Config::new(parameter, cause.to_string());
    let connector = match &config.connector {
        Some(connector) => Arc::clone(connector),
        None => {
            // reqwest takes the process's provider of cryptography: ring, unless the program has chosen another one.
            let _ = rustls::crypto::ring::default_provider().install_default();
            Arc::new(ReqwestConnector::default())
        }
    };
    let bucket_url = config.bucket_url(config.endpoint.as_deref())?;
    let mut options = object_store::ClientOptions::new()
        .with_allow_http(bucket_url.starts_with("http:"))
        .with_allow_invalid_certificates(!config.verify_tls)
        .with_timeout_disabled();
    if let Some(agent) = config.user_agent.as_deref().and_then(|agent| HeaderValue::from_str(agent).ok()) {
        options = options.with_user_agent(agent);
    }
    let http = connector.connect(&options).map_err(invalid("client"))?;
    let region = config.signing_region();
    let store = |url: String| {
        credentials(config)
            .with_http_connector(Delegate(Arc::clone(&connector)))
            // It only fetches credentials, and each request that needs them tries again anyway.
            .with_client_options(options.clone().with_timeout(config.timeout))
            .with_retry(RetryConfig { max_retries: 1, ..RetryConfig::default() })
            .with_bucket_name(&config.bucket)
            .with_region(&region)
            .with_virtual_hosted_style_request(true)
            .with_endpoint(url)
            .build()
            .map_err(invalid("credentials"))
    };
    let sign_payload = bucket_url.starts_with("http:");
    let public_url = config.bucket_url(config.public_endpoint.as_deref().or(config.endpoint.as_deref()))?;
    let transport = Transport {
        http,
        store: store(bucket_url.clone())?,
        region: region.clone(),
        bucket: config.bucket.clone(),
        bucket_url,
        sign_payload,
        timeout: config.timeout,
        max_retries: config.max_retries,
    };
    let public = store(public_url)?;
    Ok((transport, public))
}

/// A boxed connector as one.
#[derive(Debug)]
struct Delegate(Arc<dyn HttpConnector>);

impl HttpConnector for Delegate {
    fn connect(&self, options: &object_store::ClientOptions) -> object_store::Result<object_store::client::HttpClient> {
        self.0.connect(options)
    }
}

/// A builder that knows the credentials, and nothing else of the environment.
fn credentials(config: &S3Config) -> AmazonS3Builder {
    let builder = AmazonS3Builder::new();
    match &config.credentials.0 {
        Credentials::Static { access_key, secret_key, session_token } => {
            let builder = builder.with_access_key_id(access_key).with_secret_access_key(&secret_key.0);
            match session_token {
                Some(token) => builder.with_token(&token.0),
                None => builder,
            }
        }
        Credentials::Environment => [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_ENDPOINT_URL_STS",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_METADATA_ENDPOINT",
            "AWS_IMDSV1_FALLBACK",
        ]
        .into_iter()
        .fold(builder, |builder, name| match (name.to_ascii_lowercase().parse(), std::env::var(name)) {
            (Ok(key), Ok(value)) => builder.with_config(key, value),
            _ => builder,
        }),
    }
}

/// The headers of all that is written, and of files beside.
pub(super) fn headers(config: &S3Config) -> (HeaderMap, HeaderMap) {
    let (mut write, mut file) = (HeaderMap::new(), HeaderMap::new());
    let set = |headers: &mut HeaderMap, name: &'static str, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    let (algorithm, key) = match &config.encryption {
        None => (None, None),
        Some(S3Encryption::Aes256) => (Some("AES256"), None),
        Some(S3Encryption::Kms(key)) => (Some("aws:kms"), key.as_deref()),
    };
    set(&mut write, "x-amz-server-side-encryption", algorithm);
    set(&mut write, "x-amz-server-side-encryption-aws-kms-key-id", key);
    // Heads and segments are nobody's business but the bucket's owner's, whoever may read the files.
    let acl = config.acl.as_deref();
    let for_all = acl.is_some_and(|acl| acl.starts_with("bucket-owner-"));
    set(if for_all { &mut write } else { &mut file }, "x-amz-acl", acl);
    set(&mut file, "x-amz-storage-class", config.storage_class.as_deref());
    (write, file)
}
