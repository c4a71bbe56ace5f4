//! What a configuration comes to: whether it can be honoured, and where the bucket is.

use std::ops::RangeInclusive;

use url::Url;

use super::{InvalidS3Config, MIB, S3_MAX_PART, S3Config, S3Encryption};

fn within(parameter: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<(), InvalidS3Config> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    let reason = match most {
        u64::MAX => format!("it is {value}, and must be at least {least}"),
        _ => format!("it is {value}, and must lie between {least} and {most}"),
    };
    Err(InvalidS3Config::new(parameter, reason))
}

impl S3Config {
    pub(in super::super) fn signing_region(&self) -> String {
        let environment = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
        self.region.clone().or_else(environment).unwrap_or_else(|| "us-east-1".to_owned())
    }

    /// Whether what is here can be honoured.
    pub(in super::super) fn check(&self) -> Result<(), InvalidS3Config> {
        let fail = |parameter: &str, reason: &str| Err(InvalidS3Config::new(parameter, reason));
        let bucket_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.bucket.is_empty() || !self.bucket.chars().all(bucket_ok) {
            return fail("bucket", "it needs a name, of letters, digits, '.', '-' and '_'");
        }
        if !self.root.is_empty() && crate::StoragePath::parse(&format!("/{}", self.root)).is_err() {
            return fail("root", "it must be a path of letters, digits, '.', '-' and '_'");
        }
        if self.root.len() > 128 {
            return fail("root", "it is longer than 128 bytes, so that not every path would fit into a key");
        }
        if self.endpoint.is_some() && (self.dual_stack || self.accelerate) {
            return fail("endpoint", "dual stack and acceleration are AWS's own; they can't go with an endpoint");
        }
        if self.accelerate && self.path_style == Some(true) {
            return fail("accelerate", "acceleration can't go with path style");
        }
        within("min_part_size", self.min_part_size, 1..=S3_MAX_PART)?;
        within("part_size", self.part_size, self.min_part_size..=S3_MAX_PART)?;
        within("memory_budget", self.memory_budget, self.part_size..=u64::MAX)?;
        within("inline_limit", self.inline_limit, 0..=self.part_size.min(MIB))?;
        within("concurrency", self.concurrency as u64, 1..=u64::MAX)?;
        within("copy_concurrency", self.copy_concurrency as u64, 1..=u64::MAX)?;
        within("copy_part_size", self.copy_part_size, self.min_part_size * 2..=S3_MAX_PART)?;
        within("copy_threshold", self.copy_threshold, 0..=S3_MAX_PART)?;
        for (name, time) in [("timeout", self.timeout), ("checkpoint_interval", self.checkpoint_interval)] {
            if time.is_zero() {
                return fail(name, "it must not be zero");
            }
        }
        for (name, value) in
            [("storage_class", &self.storage_class), ("acl", &self.acl), ("user_agent", &self.user_agent)]
        {
            if value.as_ref().is_some_and(|value| http::HeaderValue::from_str(value).is_err()) {
                return fail(name, "it can't be sent in a header");
            }
        }
        if let Some(S3Encryption::Kms(Some(key))) = &self.encryption
            && http::HeaderValue::from_str(key).is_err()
        {
            return fail("encryption", "the key id can't be sent in a header");
        }
        self.bucket_url(self.endpoint.as_deref())?;
        if self.public_endpoint.is_some() {
            self.bucket_url(self.public_endpoint.as_deref()).map_err(|invalid| invalid.of("public_endpoint"))?;
        }
        Ok(())
    }

    /// The URL of the bucket at an endpoint, or at AWS; without a slash at the end.
    pub(in super::super) fn bucket_url(&self, endpoint: Option<&str>) -> Result<String, InvalidS3Config> {
        let (bucket, region) = (&self.bucket, self.signing_region());
        let base = match endpoint {
            Some(endpoint) if endpoint.contains("://") => endpoint.to_owned(),
            Some(endpoint) => format!("https://{endpoint}"),
            None => {
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                match (self.accelerate, self.dual_stack) {
                    (true, true) => format!("https://s3-accelerate.dualstack.{domain}"),
                    (true, false) => format!("https://s3-accelerate.{domain}"),
                    (false, true) => format!("https://s3.dualstack.{region}.{domain}"),
                    (false, false) => format!("https://s3.{region}.{domain}"),
                }
            }
        };
        let invalid = |reason: &str| InvalidS3Config::new("endpoint", reason);
        let mut url = Url::parse(&base).map_err(|_| invalid("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("its scheme is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it may have a scheme, a host, a port and a path, and nothing else"));
        }
        if self.path_style.unwrap_or(endpoint.is_some()) {
            return Ok(format!("{}/{bucket}", url.as_str().trim_end_matches('/')));
        }
        let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
        if !matches!(url.host(), Some(url::Host::Domain(_))) || url.set_host(Some(&host)).is_err() {
            return Err(invalid("the bucket can't be part of this host name: use path style"));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{S3_MIN_PART, S3Credentials};
    use super::*;

    #[test]
    fn the_bucket_goes_where_the_style_says() {
        let url = |config: S3Config| config.bucket_url(config.endpoint.as_deref()).unwrap();
        let aws = S3Config::new("b").region("eu-west-1");
        assert_eq!(url(aws.clone()), "https://b.s3.eu-west-1.amazonaws.com");
        assert_eq!(url(aws.clone().path_style(true)), "https://s3.eu-west-1.amazonaws.com/b");
        assert_eq!(url(aws.clone().dual_stack(true)), "https://b.s3.dualstack.eu-west-1.amazonaws.com");
        assert_eq!(url(aws.accelerate(true)), "https://b.s3-accelerate.amazonaws.com");
        assert_eq!(url(S3Config::new("b").region("cn-north-1")), "https://b.s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(url(S3Config::new("b").endpoint("http://127.0.0.1:9000/")), "http://127.0.0.1:9000/b");
        assert_eq!(url(S3Config::new("b").endpoint("minio:80/s3")), "https://minio:80/s3/b");
        assert_eq!(url(S3Config::new("b").endpoint("https://h.example").path_style(false)), "https://b.h.example");
    }

    #[test]
    fn what_cant_be_honoured_is_refused_by_name() {
        let refused = |config: S3Config| config.check().unwrap_err().parameter().to_owned();
        let good = S3Config::new("b");
        assert_eq!(good.check(), Ok(()));
        assert_eq!(refused(S3Config::new("")), "bucket");
        assert_eq!(refused(S3Config::new("a/b")), "bucket");
        assert_eq!(refused(good.clone().root("a/../b")), "root");
        assert_eq!(refused(good.clone().root("~segment")), "root");
        assert_eq!(refused(good.clone().min_part_size(0)), "min_part_size");
        assert_eq!(refused(good.clone().part_size(1)), "part_size");
        assert_eq!(refused(good.clone().memory_budget(1)), "memory_budget");
        assert_eq!(refused(good.clone().inline_limit(MIB + 1)), "inline_limit");
        assert_eq!(refused(good.clone().concurrency(0)), "concurrency");
        assert_eq!(refused(good.clone().copy_concurrency(0)), "copy_concurrency");
        assert_eq!(refused(good.clone().copy_part_size(S3_MIN_PART)), "copy_part_size");
        assert_eq!(refused(good.clone().timeout(Duration::ZERO)), "timeout");
        assert_eq!(refused(good.clone().checkpoint_interval(Duration::ZERO)), "checkpoint_interval");
        assert_eq!(refused(good.clone().public_endpoint("ftp://h")), "public_endpoint");
        assert_eq!(refused(good.clone().copy_threshold(u64::MAX)), "copy_threshold");
        assert_eq!(refused(good.clone().endpoint("ftp://h")), "endpoint");
        assert_eq!(refused(good.clone().endpoint("http://user:secret@h")), "endpoint");
        assert_eq!(refused(good.clone().endpoint("http://127.0.0.1").path_style(false)), "endpoint");
        assert_eq!(refused(good.clone().endpoint("http://h").accelerate(true)), "endpoint");
        assert_eq!(refused(good.clone().acl("a\nb")), "acl");
        assert_eq!(refused(good.accelerate(true).path_style(true)), "accelerate");
    }

    #[test]
    fn what_is_out_of_its_range_is_told_with_it() {
        let told = |config: S3Config| config.check().unwrap_err().to_string();
        let good = S3Config::new("b");
        assert_eq!(
            told(good.clone().part_size(7)),
            "S3 configuration: part_size: it is 7, and must lie between 5242880 and 5368709120"
        );
        assert_eq!(
            told(good.memory_budget(7)),
            "S3 configuration: memory_budget: it is 7, and must be at least 8388608"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = S3Credentials::keys("id", "hush", Some("token".into()));
        let shown = format!("{:?}", S3Config::new("b").credentials(credentials));
        assert!(shown.contains("id") && !shown.contains("hush") && !shown.contains("token\""), "{shown}");
    }
}
