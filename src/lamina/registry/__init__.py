"""The distribution protocol: images from registries (OCI distribution spec v1.1).

    resolve.RegistrySource    what a name means, and one blob
      client.RegistryClient   one request: scheme, authorization, redirects, status → error
        auth.Authorizer       tokens;  credentials.Credentials  who the user is
        transport.Transport   sockets: proxies, certificates, time-outs

Nothing secret is in an error or a `repr`, and nothing secret follows a redirect to another host.
"""
