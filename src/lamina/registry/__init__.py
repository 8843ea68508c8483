"""The distribution protocol: images from and to registries (OCI distribution spec v1.1).

    resolve.RegistrySource         what a name means, and one blob (blob)
    documents.RegistryDocuments    manifests of any kind, small blobs, lists of tags
    push.RegistryTarget            blobs (upload, mount) and manifests to there
      client.RegistryClient        one request: scheme, authorization, redirects, status → error
        registries                 mirrors and other places, by registries.conf
        auth.Authorizer            tokens;  credentials, login: who the user is
        transfers, retry           how much at once, and when again
        transport.Transport        sockets: proxies, certificates, time-outs

Nothing secret is in an error or a `repr`, and nothing secret follows a redirect to another host.
"""
