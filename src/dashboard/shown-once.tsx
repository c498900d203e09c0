import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { publicOrigin } from '../pages/document.tsx'
import { noSpellcheck } from '../pages/forms.tsx'
import { CopyButton, Snippet } from '../pages/parts.tsx'
import { ExactTime } from '../pages/time.tsx'
import type { Application } from '../storage/applications.ts'
import type { CreatedClientSecret } from '../storage/issuing.ts'
import { applicationPath, page } from './layout.tsx'

/**
 * The only page that holds a plaintext. `data-unsaved` has the browser script ask before it is left, clear it when it
 * is, and lead to the application when it is reloaded. The browser must not restore the field or check its spelling.
 */
export function shownOnce(
  c: Context<HonoEnv>,
  { secret, application }: CreatedClientSecret,
  plaintext: string,
  retireAt: number | null,
) {
  const path = applicationPath(application.id)
  const origin = publicOrigin(c)
  return page(
    c,
    { title: 'Save your client secret', section: '/dashboard' },
    <section data-unsaved={path}>
      <div>
        <p class="crumb">
          <bdi>{application.name}</bdi>
        </p>
        <h1>Save your client secret</h1>
      </div>
      <div class="secret">
        <Value id="client-id" label="Client ID" value={application.clientId} />
        <Value id="secret" label="Client secret" name={secret.name} value={plaintext} isMain />
        <Value id="token-url" label="Token URL" value={`${origin}/oauth2/token`} />
        <p id="secret-help">
          <b>You won’t see the secret again.</b> We store only a hash of it, so we can’t show it a second time.
          {secret.expiresAt !== null && (
            <>
              {' '}
              It expires on <ExactTime at={secret.expiresAt} />.
            </>
          )}
        </p>
      </div>
      {retireAt !== null && (
        <p>
          {retireAt > Date.now() ? (
            <>
              The application’s other secrets stop working on <ExactTime at={retireAt} />. Until then you can keep each
              of them on the application’s page.
            </>
          ) : (
            'The application’s other secrets have stopped working.'
          )}
        </p>
      )}
      <p>
        {/* With a query, or it would only jump to a part of this page, whose address is the application's by then. */}
        <a class="button primary" href={`${path}?saved#${secret.id}`} data-saved>
          I have saved it
        </a>
      </p>
      <hr />
      <h2>Use it</h2>
      <Snippet
        id="env"
        title=".env"
        text={`ONCEKEY_URL=${origin}\nONCEKEY_CLIENT_ID=${application.clientId}\nONCEKEY_CLIENT_SECRET=${plaintext}`}
      />
      {usesOf(application, origin).map(({ id, title, text }) => (
        <Snippet id={id} title={title} text={text} />
      ))}
    </section>,
  )
}

interface ValueProps {
  readonly id: string
  readonly label: string
  readonly name?: string | null
  readonly value: string
  readonly isMain?: boolean
}

const Value = ({ id, label, name, value, isMain }: ValueProps) => (
  <div class="field">
    <label for={id}>
      {label}
      {name && (
        <>
          {' '}
          “<bdi>{name}</bdi>”
        </>
      )}
    </label>
    <div class="value">
      <textarea
        id={id}
        rows={1}
        readonly
        autocomplete="off"
        class="code"
        aria-describedby={isMain ? 'secret-help' : undefined}
        {...noSpellcheck}
      >
        {value}
      </textarea>
      <CopyButton of={id} what={label} isMain={isMain ?? false} />
    </div>
  </div>
)

/** They read the secret from the environment, which keeps it out of the shell's history. */
function usesOf({ applicationType, scopes }: Application, origin: string) {
  const scope = scopes.join(' ')
  if (applicationType === 'm2m') {
    const quoted = scope.replaceAll("'", "'\\''")
    return [
      {
        id: 'curl',
        title: 'Get a token (curl)',
        text: [
          'set -a; . ./.env',
          'curl "$ONCEKEY_URL/oauth2/token" -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
          `  -d grant_type=client_credentials${scope && ` --data-urlencode 'scope=${quoted}'`}`,
        ].join('\n'),
      },
      {
        id: 'sdk',
        title: 'Get a token (openid-client)',
        text: [
          ...discovery(origin),
          `const { access_token } = await client.clientCredentialsGrant(config${scope && `, { scope: ${JSON.stringify(scope)} }`})`,
        ].join('\n'),
      },
    ]
  }
  return [
    {
      id: 'curl',
      title: 'Check a token (curl)',
      text: [
        'set -a; . ./.env',
        'curl "$ONCEKEY_URL/oauth2/introspection" -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
        '  -d token="$TOKEN"',
      ].join('\n'),
    },
    {
      id: 'sdk',
      title: 'Check a token (openid-client)',
      text: [...discovery(origin), 'const { active } = await client.tokenIntrospection(config, token)'].join('\n'),
    },
  ]
}

/** openid-client refuses http, which `npm run dev` serves, unless an option allows it. */
function discovery(origin: string): string[] {
  const isHttp = origin.startsWith('http://')
  return [
    "import * as client from 'openid-client'",
    '',
    'const { ONCEKEY_URL, ONCEKEY_CLIENT_ID, ONCEKEY_CLIENT_SECRET } = process.env',
    'const config = await client.discovery(',
    '  new URL(ONCEKEY_URL),',
    '  ONCEKEY_CLIENT_ID,',
    `  ONCEKEY_CLIENT_SECRET,${isHttp ? '\n  undefined,\n  { execute: [client.allowInsecureRequests] },' : ''}`,
    ')',
  ]
}
