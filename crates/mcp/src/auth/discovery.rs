//! Where the token comes from, where the user does not say: the server's protected-resource metadata (RFC 9728) names its authorization
//! server, whose metadata (RFC 8414, or the discovery of `OpenID` Connect) names the token endpoint. Where the user names the authorization server, the
//! polled one has no say in it.

use minicol_plugin::text::foreign;
use serde::Deserialize;
use url::Url;

use super::{Challenge, token::Fetch};
use crate::{Cause, endpoint::shown};

/// What an authorization server takes, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Provider {
    pub(super) token_url: Url,
    /// Whom a signed assertion is for.
    pub(super) audience: String,
    /// Whether the secret goes into the body: only where the server takes it in no header. `None`: that is to be found out.
    pub(super) secret_in_body: Option<bool>,
    /// The resource that the token shall be for, as its metadata names it.
    pub(super) resource: Option<String>,
    /// The scopes to ask for where the user names none.
    pub(super) scopes: Option<String>,
}

#[derive(Deserialize)]
struct ResourceMetadata {
    resource: Option<String>,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

#[derive(Deserialize)]
struct ServerMetadata {
    issuer: String,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Asks the server at `endpoint`, which refused with `challenge`, and its authorization server: `pinned`, or where there is none, whatever the server
/// names.
pub(super) async fn discover(
    fetch: &Fetch,
    endpoint: &Url,
    challenge: &Challenge,
    pinned: Option<&Url>,
) -> Result<Provider, Cause> {
    let described = match &challenge.resource_metadata {
        Some(url) => {
            let url = parse(url, "the resource_metadata of its challenge")?;
            let found = fetch.json::<ResourceMetadata>(&url).await?;
            Some(found.ok_or_else(|| refused(&format!("{} holds no protected-resource metadata", shown(&url))))?)
        }
        None => first(fetch, well_known_of_resource(endpoint)).await?,
    };
    // Servers of the version 2025-03-26 are their own authorization servers.
    let described = described.unwrap_or_else(|| ResourceMetadata {
        resource: None,
        authorization_servers: vec![endpoint.origin().ascii_serialization()],
        scopes_supported: Vec::new(),
    });
    if let Some(resource) = &described.resource
        && !covers(resource, endpoint)
    {
        let resource = foreign(resource);
        return Err(refused(&format!("its metadata is that of another resource ({resource}): no token is asked for")));
    }
    let Some(issuer) = pinned.map(Url::as_str).or(described.authorization_servers.first().map(String::as_str)) else {
        return Err(refused("its metadata names no authorization server: set token_url"));
    };
    let issuer_url = parse(issuer, "its authorization server")?;
    let server = first::<ServerMetadata>(fetch, well_known_of_issuer(&issuer_url)).await?;
    let server = server.ok_or_else(|| {
        refused(&format!("its authorization server {} has no metadata: set token_url", shown(&issuer_url)))
    })?;
    provider(
        server,
        issuer,
        described.resource,
        challenge.scope.clone().or_else(|| joined(&described.scopes_supported)),
    )
}

fn provider(
    server: ServerMetadata,
    issuer: &str,
    resource: Option<String>,
    scopes: Option<String>,
) -> Result<Provider, Cause> {
    if server.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
        let (said, issuer) = (foreign(&server.issuer), foreign(issuer));
        return Err(refused(&format!("the metadata of the authorization server {issuer} is that of {said}")));
    }
    let Some(token_url) = server.token_endpoint else {
        return Err(refused("its authorization server names no token endpoint: set token_url"));
    };
    let methods = server.token_endpoint_auth_methods_supported.unwrap_or_default();
    let takes = |method: &str| methods.iter().any(|one| one == method);
    Ok(Provider {
        token_url: parse(&token_url, "its token endpoint")?,
        audience: server.issuer,
        secret_in_body: Some(takes("client_secret_post") && !takes("client_secret_basic")),
        resource,
        scopes,
    })
}

/// The first of these places that holds what is looked for.
async fn first<T: serde::de::DeserializeOwned>(fetch: &Fetch, places: Vec<Url>) -> Result<Option<T>, Cause> {
    for place in places {
        if let Some(found) = fetch.json(&place).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// RFC 9728, 3.1: with the endpoint's path, then at the root.
fn well_known_of_resource(endpoint: &Url) -> Vec<Url> {
    let path = endpoint.path().trim_end_matches('/');
    let mut paths = vec!["/.well-known/oauth-protected-resource".to_owned()];
    if !path.is_empty() {
        paths.insert(0, format!("/.well-known/oauth-protected-resource{path}"));
    }
    at(endpoint, paths)
}

/// The order that the MCP specification gives (authorization server metadata discovery).
fn well_known_of_issuer(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    at(issuer, paths)
}

fn at(base: &Url, paths: Vec<String>) -> Vec<Url> {
    let with = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url.set_query(None);
        url
    };
    paths.into_iter().map(with).collect()
}

/// Whether `resource` is the endpoint, or a place above it on the same origin.
fn covers(resource: &str, endpoint: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else { return false };
    let (above, path) = (resource.path().trim_end_matches('/'), endpoint.path());
    let rest = path.strip_prefix(above);
    resource.origin() == endpoint.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn joined(scopes: &[String]) -> Option<String> {
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

fn parse(url: &str, what: &str) -> Result<Url, Cause> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    parsed.ok_or_else(|| refused(&format!("{what} is no http(s) URL ({})", foreign(url))))
}

/// A secret is as good as gone where it is shown to whomever the polled server names. `key` is the option that holds it.
pub(super) fn untrusted(key: &str) -> Cause {
    refused(&format!("with {key} it is not believed who gives them: set issuer, token_url or trust_discovered_issuer"))
}

fn refused(why: &str) -> Cause {
    Cause::NoToken(format!("the server wants a token (http 401), but {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(urls: Vec<Url>) -> Vec<String> {
        urls.into_iter().map(|url| url.as_str().trim_start_matches("https://a:1").to_owned()).collect()
    }

    #[test]
    fn metadata_is_looked_for_where_the_specifications_say() {
        let url = |text: &str| Url::parse(text).unwrap();
        let resource = "/.well-known/oauth-protected-resource";
        assert_eq!(paths(well_known_of_resource(&url("https://a:1/"))), [resource]);
        let below = format!("{resource}/x/mcp");
        assert_eq!(paths(well_known_of_resource(&url("https://a:1/x/mcp?token=1"))), [&below, resource]);
        let (oauth, oidc) = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration");
        assert_eq!(paths(well_known_of_issuer(&url("https://a:1"))), [oauth, oidc]);
        let tenant = [format!("{oauth}/tenant1"), format!("{oidc}/tenant1"), format!("/tenant1{oidc}")];
        assert_eq!(paths(well_known_of_issuer(&url("https://a:1/tenant1/"))), tenant);
    }

    #[test]
    fn a_resource_covers_what_is_at_it_and_below_it() {
        let endpoint = Url::parse("https://a/x/mcp").unwrap();
        for (resource, expected) in [
            ("https://a", true),
            ("https://a/x", true),
            ("https://a/x/mcp", true),
            ("https://a:443/x/mcp/", true),
            ("https://a/x/mc", false),
            ("https://a/y", false),
            ("https://b/x/mcp", false),
            ("http://a/x/mcp", false),
            ("mcp", false),
        ] {
            assert_eq!(covers(resource, &endpoint), expected, "{resource}");
        }
    }
}
