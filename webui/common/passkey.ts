// Passkeys (WebAuthn level 3): what the server says goes to the browser as JSON, and back.

/** Whether this browser and this address can do it: not by an IP address, not without HTTPS. */
export function passkeysAreSupported(): boolean {
  return typeof PublicKeyCredential === 'function' && 'parseCreationOptionsFromJSON' in PublicKeyCredential;
}

/** Nobody touched the key, or the browser knows none that fits. */
export class NoPasskey extends Error {}

export async function makePasskey(options: object): Promise<PublicKeyCredentialJSON> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as PublicKeyCredentialCreationOptionsJSON);
  return json(await asked(navigator.credentials.create({ publicKey })));
}

export async function askPasskey(options: object): Promise<PublicKeyCredentialJSON> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as PublicKeyCredentialRequestOptionsJSON);
  return json(await asked(navigator.credentials.get({ publicKey })));
}

async function asked(credential: Promise<Credential | null>): Promise<Credential> {
  const given = await credential.catch((error: unknown) => {
    throw new NoPasskey(String(error));
  });
  if (!given) throw new NoPasskey('no passkey');
  return given;
}

function json(credential: Credential): PublicKeyCredentialJSON {
  return (credential as PublicKeyCredential).toJSON();
}
