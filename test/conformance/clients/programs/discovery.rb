# Checks a discovery document with the gem openid_connect. Standard input: the document. Prints what the gem misses.
require 'json'
require 'openid_connect'

document = JSON.parse($stdin.read, symbolize_names: true)
config = OpenIDConnect::Discovery::Provider::Config::Response.new(document)
puts config.valid? ? [] : config.errors.full_messages
