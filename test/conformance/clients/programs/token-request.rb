# Requests a token and reads its claims with the gem openid_connect. Arguments: issuer, client ID, client secret.
require 'json'
require 'net/http'
require 'openid_connect'

issuer, identifier, secret = ARGV
client = OpenIDConnect::Client.new(identifier: identifier, secret: secret, token_endpoint: "#{issuer}/oauth2/token")
# The gem's own token class wants an ID token, which only a login has.
response = Rack::OAuth2::Client.instance_method(:access_token!).bind(Rack::OAuth2::Client.new(
  identifier: identifier, secret: secret, token_endpoint: client.token_endpoint
)).call(:basic)
keys = JSON::JWK::Set.new(JSON.parse(Net::HTTP.get(URI("#{issuer}/oauth2/jwks"))))
puts JSON::JWT.decode(response.access_token, keys).to_json
