import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { CopyButton, noSpellcheck, Snippet } from '../pages/parts.tsx'
import { Moment } from '../pages/time.tsx'
import type { Application } from '../storage/applications.ts'
import type { CreatedClientSecret } from '../storage/issuing.ts'
import { page } from './layout.tsx'

/**
 * The one page that has a plaintext. `data-unsaved` makes the script ask before it is left, and clear it when it is.
 * The field must not be filled in again by the browser, nor its text go to a spelling checker.
 */
export function shownOnce(
  c: Context<HonoEnv>,
  { secret, application }: CreatedClientSecret,
  plaintext: string,
  retireAt: number | null,
) {
  const now = Date.now()
  const back = `/dashboard/applications/${application.id}`
  const origin = new URL(c.req.url).origin
  return page(
    c,
    { title: 'New secret', section: '/dashboard', isNarrow: true },
    <section data-unsaved>
      <div>
        <p class="crumb">{application.name}</p>
        <h1>Save this secret now</h1>
      </div>
      <div class="secret">
        <label for="secret">Client secret{secret.name && ` “${secret.name}”`}</label>
        <textarea id="secret" rows={2} readonly autocomplete="off" aria-describedby="once" {...noSpellcheck}>
          {plaintext}
        </textarea>
        <div class="row spread">
          <CopyButton of="secret" what="Client secret" isMain />
          <p id="once">
            <b>It won’t be shown again.</b> Only its digest is kept. Reloading this page, or coming back to it, does not
            bring it back.
          </p>
        </div>
      </div>
      {secret.expiresAt !== null && (
        <p>
          It expires <Moment at={secret.expiresAt} now={now} />.
        </p>
      )}
      {retireAt !== null && (
        <p>
          {retireAt > now ? (
            <>
              The application’s other secrets stop working <Moment at={retireAt} now={now} />. Until then each can be
              taken back on the application’s page.
            </>
          ) : (
            'The application’s other secrets have stopped working.'
          )}
        </p>
      )}
      <p>
        <a class="button" href={`${back}#${secret.id}`} data-saved>
          I have saved it
        </a>
      </p>
      <hr />
      <h2>Put it to use</h2>
      <Snippet
        id="env"
        title=".env"
        text={`ONCEKEY_URL=${origin}\nONCEKEY_CLIENT_ID=${application.clientId}\nONCEKEY_CLIENT_SECRET=${plaintext}`}
      />
      {usesOf(application).map(({ id, title, text }) => (
        <Snippet id={id} title={title} text={text} />
      ))}
    </section>,
  )
}

/** They read the secret from the environment: so it comes into no shell's history, and no file but one. */
function usesOf({ applicationType, scopes }: Application) {
  const scope = scopes.join(' ')
  if (applicationType === 'm2m') {
    return [
      {
        id: 'curl',
        title: 'A token, with curl',
        text: [
          'set -a; . ./.env',
          'curl "$ONCEKEY_URL/oauth2/token" -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
          `  -d grant_type=client_credentials${scope && ` --data-urlencode 'scope=${scope.replaceAll("'", "'\\''")}'`}`,
        ].join('\n'),
      },
      {
        id: 'sdk',
        title: 'A token, with openid-client',
        text: [
          "import * as client from 'openid-client'",
          '',
          'const { ONCEKEY_URL, ONCEKEY_CLIENT_ID, ONCEKEY_CLIENT_SECRET } = process.env',
          'const config = await client.discovery(new URL(ONCEKEY_URL), ONCEKEY_CLIENT_ID, ONCEKEY_CLIENT_SECRET)',
          `const { access_token } = await client.clientCredentialsGrant(config${scope && `, { scope: ${JSON.stringify(scope)} }`})`,
        ].join('\n'),
      },
    ]
  }
  return [
    {
      id: 'curl',
      title: 'Whether a token is good, with curl',
      text: [
        'set -a; . ./.env',
        'curl "$ONCEKEY_URL/oauth2/introspection" -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
        '  -d token="$TOKEN"',
      ].join('\n'),
    },
    {
      id: 'sdk',
      title: 'Whether a token is good, with openid-client',
      text: [
        "import * as client from 'openid-client'",
        '',
        'const { ONCEKEY_URL, ONCEKEY_CLIENT_ID, ONCEKEY_CLIENT_SECRET } = process.env',
        'const config = await client.discovery(new URL(ONCEKEY_URL), ONCEKEY_CLIENT_ID, ONCEKEY_CLIENT_SECRET)',
        'const { active } = await client.tokenIntrospection(config, token)',
      ].join('\n'),
    },
  ]
}
