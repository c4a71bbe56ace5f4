//! Configurations as text: a URL, and the parameters of Docker's distribution.

use url::Url;

use super::config::{InvalidS3Config, S3Config, S3Credentials, S3Encryption};

impl S3Config {
    /// From `s3://bucket/root?endpoint=…&region=…`. The query takes the parameters of
    /// [`from_parameters`](Self::from_parameters), but for the bucket, the root and all that is secret, and `endpoint` and
    /// `publicendpoint` as other names of `regionendpoint` and `redirectendpoint`. Credentials come from the environment.
    ///
    /// # Errors
    /// [`InvalidS3Config`], which names the parameter.
    pub fn from_url(url: &str) -> Result<Self, InvalidS3Config> {
        let invalid = |reason: &str| InvalidS3Config::new("url", reason);
        let url = Url::parse(url).map_err(|_| invalid("it is not a URL"))?;
        if url.scheme() != "s3" {
            return Err(invalid("its scheme is not s3"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("secrets don't belong in a URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        if url.port().is_some() || url.fragment().is_some() {
            return Err(invalid("it has a port or a fragment, which mean nothing here"));
        }
        let mut config = Self::new(url.host_str().unwrap_or_default()).root(url.path());
        let pairs: Vec<_> = url.query_pairs().collect();
        for (name, _) in &pairs {
            if matches!(&**name, "bucket" | "rootdirectory" | "accesskey" | "secretkey" | "sessiontoken") {
                let reason = "it can't be set in a URL's query; the bucket and the root are its host and path, and \
                              secrets come from the environment";
                return Err(InvalidS3Config::new(&**name, reason));
            }
        }
        for (at, (name, value)) in pairs.iter().enumerate() {
            if pairs.iter().take(at).any(|(earlier, before)| field(earlier) == field(name) && before != value) {
                return Err(InvalidS3Config::new(&**name, "it is given twice, and not the same"));
            }
        }
        let set = config.set_all(pairs.iter().map(|(name, value)| (parameter(name), &**value)));
        set.map_err(|invalid| as_written(invalid, pairs.iter().map(|(name, _)| &**name)))?;
        Ok(config)
    }

    /// From the parameters of the S3 storage driver of Docker's distribution, as they stand in a registry's YAML; values
    /// as text, an empty one as if it were not there.
    ///
    /// | parameter | meaning |
    /// |---|---|
    /// | `bucket`, `rootdirectory`, `region` | as the methods of these names |
    /// | `accesskey`, `secretkey`, `sessiontoken` | [`S3Credentials::keys`]; the environment's if none is there |
    /// | `regionendpoint`, `redirectendpoint` | [`endpoint`](Self::endpoint), [`public_endpoint`](Self::public_endpoint) |
    /// | `secure` | `false`: an endpoint without a scheme is `http://` |
    /// | `skipverify` | the reverse of [`verify_tls`](Self::verify_tls) |
    /// | `forcepathstyle`, `usedualstack`, `accelerate` | [`path_style`](Self::path_style) and so on |
    /// | `encrypt`, `keyid` | [`S3Encryption::Aes256`], or [`S3Encryption::Kms`] with a key |
    /// | `chunksize` | [`part_size`](Self::part_size) |
    /// | `multipartcopychunksize`, `multipartcopythresholdsize`, `multipartcopymaxconcurrency` | [`copy_part_size`](Self::copy_part_size) and so on |
    /// | `storageclass` | [`storage_class`](Self::storage_class); `NONE` for none |
    /// | `objectacl`, `useragent` | [`acl`](Self::acl), [`user_agent`](Self::user_agent) |
    ///
    /// # Errors
    /// [`InvalidS3Config`] for a name that is not in the table, a value that can't be honoured, and a missing bucket.
    pub fn from_parameters<N, V>(parameters: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidS3Config>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let parameters: Vec<(N, V)> = parameters.into_iter().collect();
        let mut config = Self::new("");
        let set = config.set_all(parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        set.map_err(|invalid| as_written(invalid, parameters.iter().map(|(name, _)| name.as_ref())))?;
        Ok(config)
    }

    fn set_all<'a>(&mut self, parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), InvalidS3Config> {
        let (mut access, mut secret, mut token) = (None, None, None);
        let (mut encrypt, mut key_id, mut secure) = (None, None, true);
        for (name, value) in parameters.filter(|(_, value)| !value.is_empty()) {
            let owned = || Some(value.to_owned());
            match name {
                "accesskey" => access = owned(),
                "secretkey" => secret = owned(),
                "sessiontoken" => token = owned(),
                "region" => self.region = owned(),
                "regionendpoint" => self.endpoint = owned(),
                "redirectendpoint" => self.public_endpoint = owned(),
                "forcepathstyle" => self.path_style = Some(boolean(name, value)?),
                "bucket" => self.bucket = value.to_owned(),
                "encrypt" => encrypt = Some(boolean(name, value)?),
                "keyid" => key_id = owned(),
                "secure" => secure = boolean(name, value)?,
                "skipverify" => self.verify_tls = !boolean(name, value)?,
                "chunksize" => self.part_size = number(name, value)?,
                "multipartcopychunksize" => self.copy_part_size = number(name, value)?,
                "multipartcopymaxconcurrency" => {
                    self.copy_concurrency = usize::try_from(number(name, value)?).unwrap_or(usize::MAX);
                }
                "multipartcopythresholdsize" => self.copy_threshold = number(name, value)?,
                "rootdirectory" => self.root = value.trim_matches('/').to_owned(),
                "storageclass" => self.storage_class = Some(value.to_owned()).filter(|class| class != "NONE"),
                "objectacl" => self.acl = owned(),
                "useragent" => self.user_agent = owned(),
                "usedualstack" => self.dual_stack = boolean(name, value)?,
                "accelerate" => self.accelerate = boolean(name, value)?,
                _ => return Err(InvalidS3Config::new(name, "this parameter is not known")),
            }
        }
        match (access, secret) {
            (Some(access), Some(secret)) => self.credentials = S3Credentials::keys(access, secret, token),
            (None, None) if token.is_none() => {}
            (None, _) => return Err(InvalidS3Config::new("accesskey", "it is missing beside the other secrets")),
            (Some(_), None) => return Err(InvalidS3Config::new("secretkey", "it is missing beside accesskey")),
        }
        match (encrypt, key_id) {
            (Some(true), None) => self.encryption = Some(S3Encryption::Aes256),
            (Some(true), key @ Some(_)) => self.encryption = Some(S3Encryption::Kms(key)),
            (_, Some(_)) => return Err(InvalidS3Config::new("keyid", "it means nothing without encrypt")),
            (_, None) => {}
        }
        for endpoint in [&mut self.endpoint, &mut self.public_endpoint].into_iter().flatten() {
            if !secure && !endpoint.contains("://") {
                endpoint.insert_str(0, "http://");
            }
        }
        if !secure && self.endpoint.is_none() {
            return Err(InvalidS3Config::new(
                "secure",
                "without an endpoint of its own, AWS is spoken to by https only",
            ));
        }
        self.memory_budget = self.memory_budget.max(self.part_size.saturating_mul(2));
        self.check()
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, InvalidS3Config> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(InvalidS3Config::new(name, "it is neither true nor false")),
    }
}

/// A registry's name for a parameter of a URL.
fn parameter(name: &str) -> &str {
    match name {
        "endpoint" => "regionendpoint",
        "publicendpoint" => "redirectendpoint",
        name => name,
    }
}

/// What of the configuration a parameter sets.
fn field(name: &str) -> &str {
    match name {
        "regionendpoint" => "endpoint",
        "redirectendpoint" | "publicendpoint" => "public_endpoint",
        "chunksize" => "part_size",
        "multipartcopychunksize" => "copy_part_size",
        "multipartcopymaxconcurrency" => "copy_concurrency",
        "multipartcopythresholdsize" => "copy_threshold",
        "rootdirectory" => "root",
        "storageclass" => "storage_class",
        "objectacl" => "acl",
        "useragent" => "user_agent",
        "usedualstack" => "dual_stack",
        "keyid" => "encryption",
        name => name,
    }
}

/// The error by the name that was written, of these.
fn as_written<'a>(invalid: InvalidS3Config, mut names: impl Iterator<Item = &'a str>) -> InvalidS3Config {
    match names.find(|name| field(name) == invalid.parameter()) {
        Some(name) => invalid.of(name),
        None => invalid,
    }
}

fn number(name: &str, value: &str) -> Result<u64, InvalidS3Config> {
    value.parse().map_err(|_| InvalidS3Config::new(name, "it is not a number of bytes or requests"))
}

#[cfg(test)]
mod tests {
    use super::super::config::{Credentials, Secret};
    use super::*;

    #[test]
    fn a_registrys_parameters_carry_over() {
        let config = S3Config::from_parameters([
            ("accesskey", "id"),
            ("secretkey", "hush"),
            ("sessiontoken", "token"),
            ("region", "eu-west-1"),
            ("regionendpoint", "minio:9000"),
            ("redirectendpoint", "https://files.example"),
            ("forcepathstyle", "true"),
            ("bucket", "b"),
            ("encrypt", "true"),
            ("keyid", "key"),
            ("secure", "false"),
            ("skipverify", "true"),
            ("chunksize", "10485760"),
            ("multipartcopychunksize", "33554432"),
            ("multipartcopymaxconcurrency", "100"),
            ("multipartcopythresholdsize", "33554433"),
            ("rootdirectory", "/registry/a"),
            ("storageclass", "STANDARD_IA"),
            ("objectacl", "private"),
            ("useragent", "agent"),
            ("usedualstack", "false"),
            ("accelerate", "false"),
        ])
        .unwrap();
        let keys = Credentials::Static {
            access_key: "id".into(),
            secret_key: Secret("hush".into()),
            session_token: Some(Secret("token".into())),
        };
        assert_eq!(config.credentials.0, keys);
        assert_eq!(config.endpoint.as_deref(), Some("http://minio:9000"));
        assert_eq!(config.public_endpoint.as_deref(), Some("https://files.example"));
        assert_eq!((config.path_style, config.verify_tls), (Some(true), false));
        assert_eq!(config.encryption, Some(S3Encryption::Kms(Some("key".into()))));
        assert_eq!((config.part_size, config.copy_part_size), (10 << 20, 32 << 20));
        assert_eq!((config.copy_threshold, config.copy_concurrency), ((32 << 20) + 1, 100));
        assert_eq!((config.root.as_str(), config.bucket.as_str()), ("registry/a", "b"));
        assert_eq!(config.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!((config.acl.as_deref(), config.user_agent.as_deref()), (Some("private"), Some("agent")));
        let plain =
            S3Config::from_parameters([("bucket", "b"), ("storageclass", "NONE"), ("encrypt", "true")]).unwrap();
        assert_eq!((plain.storage_class, plain.encryption), (None, Some(S3Encryption::Aes256)));
    }

    #[test]
    fn what_cant_be_honoured_is_refused_by_name() {
        let refused = |name: &str, value: &str| {
            S3Config::from_parameters([("bucket", "b"), (name, value)]).unwrap_err().parameter().to_owned()
        };
        assert_eq!(refused("loglevel", "debug"), "loglevel");
        assert_eq!(refused("chunksize", "10MB"), "chunksize");
        for (name, value) in [
            ("chunksize", "1024"),
            ("multipartcopychunksize", "5242880"),
            ("multipartcopymaxconcurrency", "0"),
            ("multipartcopythresholdsize", "5368709121"),
            ("storageclass", "a\nb"),
            ("objectacl", "a\nb"),
            ("useragent", "a\nb"),
            ("regionendpoint", "ftp://h"),
            ("redirectendpoint", "ftp://h"),
        ] {
            assert_eq!(refused(name, value), name);
        }
        assert_eq!(refused("encrypt", "yes"), "encrypt");
        assert_eq!(refused("keyid", "key"), "keyid");
        assert_eq!(refused("accesskey", "id"), "secretkey");
        assert_eq!(refused("secretkey", "hush"), "accesskey");
        assert_eq!(refused("sessiontoken", "hush"), "accesskey");
        assert_eq!(refused("secure", "false"), "secure");
        assert_eq!(refused("rootdirectory", "a b"), "rootdirectory");
        assert_eq!(S3Config::from_parameters([("region", "x")]).unwrap_err().parameter(), "bucket");
    }

    #[test]
    fn a_url_names_bucket_root_and_endpoint() {
        let config =
            S3Config::from_url("s3://b.c/x/y/?endpoint=http%3A%2F%2Fh%3A1&region=r&forcepathstyle=true").unwrap();
        assert_eq!((config.bucket.as_str(), config.root.as_str()), ("b.c", "x/y"));
        assert_eq!((config.endpoint.as_deref(), config.region.as_deref()), (Some("http://h:1"), Some("r")));
        let refused = |url: &str| S3Config::from_url(url).unwrap_err().parameter().to_owned();
        for url in ["", "file:///a", "s3://id:hush@b", "s3://b:9000/x", "s3://b#x"] {
            assert_eq!(refused(url), "url", "{url}");
        }
        assert_eq!(refused("s3:///x"), "bucket");
        assert_eq!(refused("s3://b?secretkey=hush"), "secretkey");
        assert_eq!(refused("s3://b?rootdirectory=x"), "rootdirectory");
        assert_eq!(refused("s3://b?nonsense=1"), "nonsense");
        assert_eq!(refused("s3://b?region=x&region=y"), "region");
        assert_eq!(refused("s3://b?regionendpoint=x&endpoint=y"), "endpoint");
        assert_eq!(refused("s3://b?endpoint=ftp://h"), "endpoint");
        assert_eq!(refused("s3://b?regionendpoint=ftp://h"), "regionendpoint");
        assert_eq!(refused("s3://b?publicendpoint=ftp://h"), "publicendpoint");
        assert_eq!(refused("s3://b?chunksize=1024"), "chunksize");
    }
}
