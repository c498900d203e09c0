import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { publicOrigin } from '../pages/document.tsx'
import { PostForm } from '../pages/forms.tsx'
import { Hint, Tabs } from '../pages/parts.tsx'
import { ExactTime } from '../pages/time.tsx'
import type { Application } from '../storage/applications.ts'
import type { ClientSecret } from '../storage/client-secrets.ts'
import type { CreatedClientSecret } from '../storage/issuing.ts'
import { newFormToken } from './form.tsx'
import { APPLICATIONS_PATH, applicationPath, page } from './layout.tsx'
import { Files, Mask, Value } from './once-parts.tsx'
import { lifetimeOf } from './secret-forms.tsx'
import { examplesOf } from './snippets.ts'

/**
 * The only page with the plaintext of a client secret. `data-unsaved` makes the browser script ask before the user
 * leaves the page, clear the page when the user leaves, and open the application after a reload. The browser must not
 * restore the field or check its spelling.
 */
export function shownOnce(
  c: Context<HonoEnv>,
  { secret, application }: CreatedClientSecret,
  plaintext: string,
  retireAt: number | null,
) {
  const path = applicationPath(application.id)
  const origin = publicOrigin(c)
  const isM2m = application.applicationType === 'm2m'
  const endpoint = {
    name: isM2m ? 'Token URL' : 'Introspection URL',
    member: isM2m ? 'token_url' : 'introspection_url',
    url: `${origin}/oauth2/${isM2m ? 'token' : 'introspection'}`,
  }
  const json = { client_id: application.clientId, client_secret: plaintext, [endpoint.member]: endpoint.url }
  return page(
    c,
    { title: 'Save your client secret', section: APPLICATIONS_PATH },
    <section data-unsaved={path}>
      <div>
        <p class="crumb">
          <bdi>{application.name}</bdi>
        </p>
        <h1>Save your client secret</h1>
        <p id="secret-help" class="quiet">
          <b>You won’t see the secret again.</b> We store only a hash of it, so we can’t show it a second time.
        </p>
      </div>
      <div class="beside">
        <div class="stack">
          <div class="secret">
            <Value id="client-id" label="Client ID" value={application.clientId} />
            <Value id="secret" label="Client secret" name={secret.name} value={plaintext} isMain />
            <Value id="endpoint" label={endpoint.name} value={endpoint.url} />
            <Mask what="secret" />
            <Files
              files={[
                ['env', '.env', '.env', envFile(application, secret, plaintext, origin)],
                ['json', 'JSON', 'client.json', JSON.stringify(json, null, 2)],
              ]}
            />
          </div>
          <Expiry secret={secret} retireAt={retireAt} />
          <div class="row">
            {/* The script has replaced the URL of this page by `path`: without a query, this link would load nothing. */}
            <a class="button primary" href={`${path}?saved#${secret.id}`} data-saved>
              Done
            </a>
            <Lost path={path} secret={secret} />
          </div>
        </div>
        <div class="panel">
          <h2>{isM2m ? 'Get a token' : 'Check a token'}</h2>
          <Tabs name="language" label="Language" tabs={examplesOf(application, origin)} />
          <p class="quiet small">
            Save the .env file above, and load it first: <code>set -a; . ./.env</code>
          </p>
          <FirstUse path={`${path}/secrets/${secret.id}/first-use`} />
        </div>
      </div>
    </section>,
  )
}

const Expiry = ({ secret, retireAt }: { secret: ClientSecret; retireAt: number | null }) => (
  <>
    <p>
      You can recognize the secret by its last characters, <Hint hint={secret.hint} />.{' '}
      {secret.expiresAt === null ? (
        'It never expires.'
      ) : (
        <>
          It expires on <ExactTime at={secret.expiresAt} />.
        </>
      )}
    </p>
    {retireAt !== null && (
      <p>
        {retireAt > Date.now() ? (
          <>
            The application’s other secrets stop working on <ExactTime at={retireAt} />. Until then you can keep each of
            them on the application’s page.
          </>
        ) : (
          'The application’s other secrets have stopped working.'
        )}
      </p>
    )}
  </>
)

/** A button for a person who has lost the secret: it creates a new one with the same name and lifetime, and revokes the old one. */
const Lost = ({ path, secret }: { path: string; secret: ClientSecret }) => (
  <PostForm
    action={`${path}/replace-secret`}
    fields={{
      token: newFormToken(),
      secret: secret.id,
      name: secret.name ?? '',
      lifetime: String(lifetimeOf(secret)),
    }}
  >
    <button type="submit" class="danger">
      I lost it: revoke and start over
    </button>
  </PostForm>
)

/** The browser script requests `path` every few seconds, and shows here when the secret was used. */
const FirstUse = ({ path }: { path: string }) => (
  <p class="small" data-poll={path} role="status">
    <a href={path} target="_blank" rel="noopener">
      See whether the secret was used
    </a>
  </p>
)

function envFile({ name, clientId }: Application, secret: ClientSecret, plaintext: string, origin: string): string {
  const expiry = secret.expiresAt === null ? 'never expires' : `expires ${new Date(secret.expiresAt).toISOString()}`
  return [
    `# ${name}: client secret …${secret.hint}, ${expiry}`,
    `ONCEKEY_URL=${origin}`,
    `ONCEKEY_CLIENT_ID=${clientId}`,
    `ONCEKEY_CLIENT_SECRET=${plaintext}`,
  ].join('\n')
}
