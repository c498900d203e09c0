// Serves the API through Express, which checks each request and response against the OpenAPI document, and calls it.
// Arguments: issuer, client ID, client secret, API key.
import express from 'express'
import { middleware } from 'express-openapi-validator'

const [issuer, clientId, clientSecret, apiKey] = process.argv.slice(2)
const apiSpec = await (await fetch(`${issuer}/openapi.json`)).json()
const app = express()
app.use(express.json(), express.urlencoded({ extended: false }))
app.use(middleware({ apiSpec, validateRequests: true, validateResponses: true, validateSecurity: false }))
app.use(async (request, response) => {
  const { authorization = '', 'content-type': type = '' } = request.headers
  const isForm = type.startsWith('application/x-www-form-urlencoded')
  const body = isForm ? new URLSearchParams(request.body) : JSON.stringify(request.body ?? {})
  const headers = { authorization, 'content-type': isForm ? type : 'application/json' }
  const hasBody = !['GET', 'DELETE'].includes(request.method)
  const answer = await fetch(issuer + request.originalUrl, {
    method: request.method,
    headers,
    ...(hasBody && { body }),
  })
  const text = await answer.text()
  response.status(answer.status)
  for (const name of ['www-authenticate', 'retry-after']) {
    if (answer.headers.has(name)) response.set(name, answer.headers.get(name))
  }
  if (text === '') response.end()
  else response.json(JSON.parse(text))
})
// Express knows an error handler by its four parameters.
app.use((error, _request, response, _next) => {
  console.log(error.message, JSON.stringify(error.errors ?? []))
  response.status(599).end()
})

const server = app.listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const origin = `http://127.0.0.1:${server.address().port}`

async function call(method, path, { json, form, authorization = `Bearer ${apiKey}` } = {}) {
  const response = await fetch(origin + path, {
    method,
    headers: { ...(authorization && { authorization }), ...(json && { 'content-type': 'application/json' }) },
    ...(json && { body: JSON.stringify(json) }),
    ...(form && { body: new URLSearchParams(form) }),
  })
  console.log(method, path.replace(/(conn_app|secret)_\w{26}/g, '{id}'), response.status)
  const text = await response.text()
  return text && JSON.parse(text)
}

const basic = `Basic ${btoa(`${clientId}:${clientSecret}`)}`
const json = { name: 'Validated', application_type: 'm2m', organization_id: 'org_1' }
const { id } = await call('POST', '/connect/applications', { json })
await call('GET', '/connect/applications?limit=1')
await call('PUT', `/connect/applications/${id}`, { json: { name: 'Renamed' } })
const secret = await call('POST', `/connect/applications/${id}/client_secrets`, { json: {} })
await call('GET', `/connect/applications/${id}/client_secrets`)
await call('PATCH', `/connect/client_secrets/${secret.id}`, { json: { disabled: true } })
await call('GET', `/connect/client_secrets/${secret.id}`)
await call('DELETE', `/connect/client_secrets/${secret.id}`)
await call('GET', `/connect/applications/${secret.id}`)
await call('GET', '/events')
const grant = { grant_type: 'client_credentials' }
const { access_token: token } = await call('POST', '/oauth2/token', { form: grant, authorization: basic })
const credentials = { client_id: clientId, client_secret: clientSecret }
await call('POST', '/oauth2/token', { form: { ...grant, ...credentials }, authorization: '' })
await call('POST', '/oauth2/introspection', { form: { token }, authorization: basic })
await call('GET', '/oauth2/jwks')
await call('GET', '/.well-known/openid-configuration')
server.close()
