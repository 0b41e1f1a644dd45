"""HTTP to servers that are not trusted: connections, redirects, proxies, certificates, retries."""
