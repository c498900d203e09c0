/** An environment in use, created by calls of the API. */
export interface Example {
  readonly applicationId: string
  readonly hint: string
}

type Call = (
  method: string,
  path: string,
  body?: object,
) => Promise<{ id: string; secret: string; secret_hint: string }>

/** Fills an environment. */
export async function fill(origin: string, apiKey: string): Promise<Example> {
  const call: Call = async (method, path, body) => {
    const response = await fetch(origin + path, {
      method,
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    return response.json() as ReturnType<Call>
  }
  const create = (name: string, more: object = {}) =>
    call('POST', '/connect/applications', {
      name,
      application_type: 'm2m',
      organization_id: 'org_01EHZNVPK3SFK441A1RGBFSHRT',
      ...more,
    })
  const issue = (application: string, body = {}) =>
    call('POST', `/connect/applications/${application}/client_secrets`, body)

  await create('Customer portal', {
    application_type: 'oauth',
    is_first_party: true,
    organization_id: null,
    redirect_uris: [{ uri: 'https://portal.example.com/callback' }, { uri: 'http://localhost:3000/callback' }],
    uses_pkce: true,
    scopes: ['openid', 'profile'],
  })
  await create('Invoice mailer', { scopes: ['invoices:read'] })
  await create('Acme’s warehouse', {
    application_type: 'oauth',
    is_first_party: false,
    organization_id: 'org_01HXW2T3Q5Z8RZ4Y1VQ3N7K9AB',
    redirect_uris: [{ uri: 'https://warehouse.acme.example/oauth' }],
    uses_pkce: false,
  })
  const { id } = await create('Nightly export', {
    description: 'Copies yesterday’s orders to the data warehouse, every night at two.',
    scopes: ['orders:read', 'export:write'],
  })
  const old = await issue(id, { name: 'production' })
  const { secret } = await issue(id, {
    name: 'staging',
    expires_at: new Date(Date.now() + 40 * 86_400_000).toISOString(),
  })
  await call('POST', '/connect/client_secrets/verify', { client_secret: secret })
  await call('POST', '/connect/client_secrets/verify', { client_secret: old.secret })
  await call('POST', `/connect/applications/${id}/client_secrets/rotate`, { grace_period_seconds: 86_400 })
  const laptop = await issue(id, { name: 'Ana’s laptop' })
  await call('PATCH', `/connect/client_secrets/${laptop.id}`, { disabled: true })
  return { applicationId: id, hint: laptop.secret_hint }
}
