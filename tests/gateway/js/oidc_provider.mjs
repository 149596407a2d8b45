// A certified OpenID provider (npm oidc-provider) for the tests: any name and password sign in as that name. Prints its issuer.
import { Provider } from "oidc-provider";
import { createServer } from "node:http";

const [callback] = process.argv.slice(2);
const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "cauce",
      token_endpoint_auth_method: "none",
      redirect_uris: [callback],
      post_logout_redirect_uris: [new URL("/v1/docs", callback).href],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
    {
      client_id: "robot",
      client_secret: process.env.OIDC_SECRET,
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true, name: id }),
  }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:cauce:api",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "api",
        audience: "urn:cauce:api",
        accessTokenFormat: "jwt",
        accessTokenTTL: Number(process.env.OIDC_TTL ?? 3600),
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
server.on("request", provider.callback());
console.log(issuer);
process.stdin.on("close", () => process.exit(0)).resume();
