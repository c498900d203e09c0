/**
 * The calls of WorkOS's SDKs, by operation. The versions of the SDKs are: Node 11.0.0, Python 10.2.0, Ruby 10.2.1, Go
 * 10.1.1 and PHP 9.0.0. An operation without an entry is an addition of Oncekey, which no SDK has.
 */
export const SDK_CALLS: Readonly<
  Record<string, Readonly<Record<'javascript' | 'python' | 'ruby' | 'go' | 'php', string>>>
> = {
  createApplication: {
    javascript: `connect.createM2MApplication(
  'Nightly export',
  'org_01EHZNVPK3SFK441A1RGBFSHRT',
  null,
  ['orders:read'],
)`,
    python: 'client.connect.create_m2m_application(name=…, organization_id=…, scopes=[…])',
    ruby: 'client.connect.create_m2m_application(name:, organization_id:, scopes:)',
    go: 'client.Connect().CreateM2MApplication(ctx, &workos.ConnectCreateM2MApplicationParams{…})',
    php: '$workos->connect()->createM2MApplication($name, $organizationId, scopes: […])',
  },
  listApplications: {
    javascript: 'connect.listApplications({ limit: 10 })',
    python: 'client.connect.list_applications(limit=10)',
    ruby: 'client.connect.list_applications(limit: 10)',
    go: 'client.Connect().ListApplications(ctx, &workos.ConnectListApplicationsParams{})',
    php: '$workos->connect()->listApplications(limit: 10)',
  },
  getApplication: {
    javascript: 'connect.getApplication({ id: process.env.APPLICATION_ID })',
    python: 'client.connect.get_application(application_id)',
    ruby: 'client.connect.get_application(id: application_id)',
    go: 'client.Connect().GetApplication(ctx, applicationID)',
    php: '$workos->connect()->getApplication($applicationId)',
  },
  updateApplication: {
    javascript: `connect.updateApplication({
  id: process.env.APPLICATION_ID,
  name: 'Hourly export',
})`,
    python: 'client.connect.update_application(application_id, name=…)',
    ruby: 'client.connect.update_application(id: application_id, name: …)',
    go: 'client.Connect().UpdateApplication(ctx, applicationID, &workos.ConnectUpdateApplicationParams{…})',
    php: '$workos->connect()->updateApplication($applicationId, name: …)',
  },
  deleteApplication: {
    javascript: 'connect.deleteApplication({ id: process.env.APPLICATION_ID })',
    python: 'client.connect.delete_application(application_id)',
    ruby: 'client.connect.delete_application(id: application_id)',
    go: 'client.Connect().DeleteApplication(ctx, applicationID)',
    php: '$workos->connect()->deleteApplication($applicationId)',
  },
  createClientSecret: {
    javascript: `connect.createApplicationClientSecret({
  id: process.env.APPLICATION_ID,
})`,
    python: 'client.connect.create_application_client_secret(application_id)',
    ruby: 'client.connect.create_application_client_secret(id: application_id)',
    go: 'client.Connect().CreateApplicationClientSecret(ctx, applicationID)',
    php: '$workos->connect()->createApplicationClientSecret($applicationId)',
  },
  listClientSecrets: {
    javascript: `connect.listApplicationClientSecrets({
  id: process.env.APPLICATION_ID,
})`,
    python: 'client.connect.list_application_client_secrets(application_id)',
    ruby: 'client.connect.list_application_client_secrets(id: application_id)',
    go: 'client.Connect().ListApplicationClientSecrets(ctx, applicationID)',
    php: '$workos->connect()->listApplicationClientSecrets($applicationId)',
  },
  revokeClientSecret: {
    javascript: 'connect.deleteClientSecret({ id: process.env.SECRET_ID })',
    python: 'client.connect.delete_client_secret(secret_id)',
    ruby: 'client.connect.delete_client_secret(id: secret_id)',
    go: 'client.Connect().DeleteClientSecret(ctx, secretID)',
    php: '$workos->connect()->deleteClientSecret($secretId)',
  },
  listEvents: {
    javascript: `events.listEvents({
  events: ['connect_application_secret.created'],
})`,
    python: 'client.events.list_events(events=[…])',
    ruby: 'client.events.list_events(events: […])',
    go: 'client.Events().List(ctx, &workos.EventsListParams{Events: []string{…}})',
    php: '$workos->events()->listEvents(events: […])',
  },
}
