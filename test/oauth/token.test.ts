import { decodeJwt, decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { call, newApiKey, newApplication, send } from '../api.ts'

test('a secret gets an access token, by either method of client authentication', async () => {
  const { apiKey } = await newApiKey()
  const application = await newApplication(apiKey, {
    name: 'a',
    application_type: 'm2m',
    organization_id: 'org_1',
    scopes: ['read'],
  })
  const { secret, id } = (await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)).json
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const basic = await send(
    new Request('https://oncekey.test/oauth2/token', {
      method: 'POST',
      headers: { ...form, Authorization: `Basic ${btoa(`${application.client_id}:${secret}`)}` },
      body: 'grant_type=client_credentials',
    }),
  )
  expect(basic.status, basic.text).toBe(200)
  console.log(basic.text, decodeJwt(basic.json.access_token), decodeProtectedHeader(basic.json.access_token))
  const post = await send(
    new Request('https://oncekey.test/oauth2/token', {
      method: 'POST',
      headers: form,
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: application.client_id,
        client_secret: secret,
      }),
    }),
  )
  expect(post.status, post.text).toBe(200)
  const listed = await call(apiKey, 'GET', `/connect/applications/${application.id}/client_secrets`)
  expect(listed.json[0].last_used_at).not.toBeNull()
  const introspect = () =>
    send(
      new Request('https://oncekey.test/oauth2/introspection', {
        method: 'POST',
        headers: form,
        body: new URLSearchParams({
          token: post.json.access_token,
          client_id: application.client_id,
          client_secret: second.json.secret,
        }),
      }),
    )
  const second = await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
  console.log((await introspect()).text)
  console.log((await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret } })).text)
  await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)
  console.log((await introspect()).text)
  for (const path of ['/oauth2/jwks', '/.well-known/openid-configuration', '/oauth2/token', '/oauth2/nowhere'])
    console.log((await send(new Request(`https://oncekey.test${path}`))).text)
})
