// The program of `etcd3`, Node's client: its builders, watchers, leases, locks, elections and software transactions.
//
// It speaks an older dialect of the protocol, without manual progress. What is printed is read by ../src/report.rs, and
// what is found in the environment is told in ../src/field.rs.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const { Etcd3, EtcdLockFailedError } = require('etcd3');

// How long something that must come true may take, on a slow and busy machine.
const PATIENCE_MS = 30_000;

const env = process.env;
const endpoints = env.CLIENTS_ENDPOINTS.split(',');
const checks = [];
const check = (name, run) => checks.push({ name, run });

function client(hosts = endpoints, more = {}) {
  const options = { hosts, ...more };
  if (env.CLIENTS_CA) {
    const [rootCertificate, certChain, privateKey] = [env.CLIENTS_CA, env.CLIENTS_CERT, env.CLIENTS_KEY].map(file => fs.readFileSync(file));
    options.credentials = { rootCertificate, certChain, privateKey };
  }
  return new Etcd3(options);
}

// A user's client speaks to one member, because a token may be younger than what another has applied.
const as = (username, password) => client(endpoints[0], { auth: { username, password } });

const pause = ms => new Promise(done => setTimeout(done, ms));

function same(what, got, wanted) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (g !== w) throw new Error(`${what}: wanted ${w}, got ${g}`);
}

function holds(what, truth) {
  if (!truth) throw new Error(what);
}

async function refused(what, call, words) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    const said = String(error.message);
    if (!words.some(word => said.includes(word))) throw new Error(`${what}: wanted one of ${JSON.stringify(words)}, got ${said}`);
    return error;
  }
  throw new Error(`${what}: wanted a refusal, got ${JSON.stringify(answer)}`);
}

async function eventually(what, ask) {
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await pause(10)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
}

function control(line) {
  return new Promise((done, failed) => {
    const [host, port] = env.CLIENTS_CONTROL.split(':');
    const stream = net.connect(Number(port), host, () => stream.write(line + '\n'));
    let said = '';
    stream.on('error', failed);
    stream.on('data', data => {
      said += data;
      if (!said.includes('\n')) return;
      stream.destroy();
      said.trim() === 'ok' ? done() : failed(new Error(`${line}: ${said}`));
    });
  });
}

// Collects the events of a watcher: `put k=v`, `delete k`, with what was there before.
function collect(watcher) {
  const events = [];
  const was = previous => (previous ? ` was ${previous.value}` : '');
  watcher.on('put', (kv, previous) => events.push(`put ${kv.key}=${kv.value}${was(previous)}`));
  watcher.on('delete', (kv, previous) => events.push(`delete ${kv.key}${was(previous)}`));
  return events;
}

const revision = answer => answer.header.revision;

let c;

check('kv: what was put is read back, in every form', async () => {
  const first = revision(await c.put('kv/a').value('1'));
  const second = revision(await c.put('kv/a').value('2'));
  same('one put, one revision', Number(second), Number(first) + 1);
  same('string', await c.get('kv/a').string(), '2');
  same('number', await c.get('kv/a').number(), 2);
  same('buffer', [...(await c.get('kv/a').buffer())], [50]);
  same('json', await c.get('kv/a').json(), 2);
  same('nothing', await c.get('kv/none'), null);
  same('exists', [await c.get('kv/a').exists(), await c.get('kv/none').exists()], [true, false]);
  same('the past', await c.get('kv/a').revision(first).string(), '1');
  same('serializable', await eventually('the value', async () => (await c.get('kv/a').serializable(true).string()) === '2'), true);
  const { kvs } = await c.get('kv/a').exec();
  same('revisions', [kvs[0].create_revision, kvs[0].mod_revision, kvs[0].version], [first, second, '2']);
});

check('kv: prefixes, ranges, sorts, limits, counts', async () => {
  for (const [key, value] of [['a', '3'], ['b', '1'], ['c', '2']]) await c.put(`kv/r/${key}`).value(value);
  const all = () => c.getAll().prefix('kv/r/');
  same('strings', await all().strings(), { 'kv/r/a': '3', 'kv/r/b': '1', 'kv/r/c': '2' });
  same('keys', await all().keys(), ['kv/r/a', 'kv/r/b', 'kv/r/c']);
  same('count', await all().count(), 3);
  same('limit', await all().limit(2).keys(), ['kv/r/a', 'kv/r/b']);
  same('down', await all().sort('Key', 'Descend').keys(), ['kv/r/c', 'kv/r/b', 'kv/r/a']);
  same('by value', await all().sort('Value', 'Ascend').keys(), ['kv/r/b', 'kv/r/c', 'kv/r/a']);
  same('range', await c.getAll().inRange({ start: 'kv/r/b', end: 'kv/s' }).keys(), ['kv/r/b', 'kv/r/c']);
  holds('all', (await c.getAll().count()) >= 3);
});

check('kv: deletes tell what was there', async () => {
  await c.put('kv/d/a').value('1');
  await c.put('kv/d/b').value('2');
  const before = await c.delete().key('kv/d/a').getPrevious();
  same('before', before.map(kv => String(kv.value)), ['1']);
  same('the rest', (await c.delete().prefix('kv/d/')).deleted, '1');
  const was = await c.put('kv/a').value('3').getPrevious();
  same('a put tells, too', String(was.value), '2');
});

check('kv: compaction', async () => {
  const old = revision(await c.put('kv/c').value('1'));
  const now = revision(await c.put('kv/c').value('2'));
  await c.kv.compact({ revision: now, physical: true });
  await refused('the past', c.get('kv/c').revision(old).string(), ['required revision has been compacted']);
  await refused('the future', c.get('kv/c').revision('99999999').string(), ['required revision is a future revision']);
  same('the present', await c.get('kv/c').string(), '2');
});

check('namespace: keys, watches, locks under a prefix', async () => {
  const space = c.namespace('space/');
  await space.put('a').value('1');
  same('outside', await c.get('space/a').string(), '1');
  same('within', await space.getAll().keys(), ['a']);
  await space.lock('lock').do(() => {});
  await space.delete().all();
  same('gone', await c.getAll().prefix('space/').count(), 0);
  holds('the others are there', (await c.getAll().count()) > 0);
});

check('txn: if, and, then, else', async () => {
  await c.put('txn/a').value('1');
  const yes = await c.if('txn/a', 'Value', '==', '1').and('txn/none', 'Create', '==', 0).then(c.put('txn/a').value('2'), c.get('txn/a')).else(c.delete().key('txn/a')).commit();
  same('then', [yes.succeeded, String(yes.responses[1].response_range.kvs[0].value)], [true, '2']);
  const no = await c.if('txn/a', 'Version', '>', 5).then(c.delete().key('txn/a')).else(c.get('txn/a')).commit();
  same('else', [no.succeeded, no.responses[0].response_range.count], [false, '1']);
  for (const [operator, value] of [['!=', 1], ['<', 3], ['>', 1], ['==', 2]]) {
    same(operator, (await c.if('txn/a', 'Version', operator, value).then(c.get('txn/a')).commit()).succeeded, true);
  }
});

check('stm: counters that many raise lose nothing', async () => {
  await c.put('stm/n').value(0);
  const raise = () => c.stm({ retries: 50 }).transact(async tx => tx.put('stm/n').value((await tx.get('stm/n').number()) + 1));
  await Promise.all(Array.from({ length: 5 }, raise));
  same('n', await c.get('stm/n').number(), 5);
});

check('watch: history with what was there before, and then the present', async () => {
  const first = revision(await c.put('watch/h/a').value('1'));
  await c.put('watch/h/a').value('2');
  await c.delete().key('watch/h/a');
  const watcher = c.watch().prefix('watch/h/').startRevision(first).withPreviousKV().watcher();
  const events = collect(watcher);
  await eventually('history', () => events.length >= 3);
  await c.put('watch/h/b').value('3');
  await eventually('now', () => events.length >= 4);
  same('events', events, ['put watch/h/a=1', 'put watch/h/a=2 was 1', 'delete watch/h/a was 2', 'put watch/h/b=3']);
  holds('its last revision', watcher.lastRevision() > Number(first));
  await watcher.cancel();
});

check('watch: only deletes, ranges, cancel', async () => {
  const watcher = await c.watch().inRange({ start: 'watch/f/a', end: 'watch/f/c' }).only('delete').create();
  const events = collect(watcher);
  for (const key of ['a', 'b', 'c']) {
    await c.put(`watch/f/${key}`).value('1');
    await c.delete().key(`watch/f/${key}`);
  }
  await eventually('events', () => events.length === 2);
  same('events', events, ['delete watch/f/a', 'delete watch/f/b']);
  await watcher.cancel();
  await c.delete().key('watch/f/a');
});

check('watch: many on one stream', async () => {
  const watchers = await Promise.all(Array.from({ length: 50 }, (_, i) => c.watch().key(`watch/many/${i}`).create()));
  const events = watchers.map(collect);
  await Promise.all(watchers.map((_, i) => c.put(`watch/many/${i}`).value(i)));
  await eventually('all', () => events.every(seen => seen.length === 1));
  same('each its own', events.map(seen => seen[0]), watchers.map((_, i) => `put watch/many/${i}=${i}`));
  await Promise.all(watchers.map(watcher => watcher.cancel()));
});

check('watch: below the compacted revision it ends', async () => {
  const old = revision(await c.put('watch/c').value('1'));
  const now = revision(await c.put('watch/c').value('2'));
  await c.kv.compact({ revision: now });
  const own = client();
  const said = [];
  const watcher = own.watch().key('watch/c').startRevision(old).watcher();
  watcher.on('error', error => said.push(String(error.message)));
  watcher.on('data', answer => said.push(`compacted ${answer.compact_revision}`));
  watcher.on('end', () => said.push('end'));
  await eventually('it hears of it', () => said.length > 0);
  own.close();
});

check('lease: grant, keys, keep-alive, revoke', async () => {
  const lease = c.lease(2);
  const succeeded = [];
  lease.on('keepaliveSucceeded', answer => succeeded.push(answer.TTL));
  const id = await lease.grant();
  await lease.put('lease/a').value('1');
  same('once', (await lease.keepaliveOnce()).TTL, '2');
  const { keys, grantedTTL } = await c.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  same('look', [keys.map(String), grantedTTL], [['lease/a'], '2']);
  await pause(4500);
  same('kept', await c.get('lease/a').string(), '1');
  holds('it was kept alive', succeeded.length >= 2);
  await lease.revoke();
  same('gone', await c.get('lease/a'), null);
  same('state', lease.revoked(), true);
});

check('lease: not kept alive it expires, and its holder hears that it is lost', async () => {
  const lease = c.lease(2, { autoKeepAlive: false });
  await lease.put('lease/short').value('1');
  await eventually('expired', async () => (await c.get('lease/short')) === null);
  let lost = false;
  lease.on('lost', () => (lost = true));
  await refused('a keep-alive', lease.keepaliveOnce(), ['is expired or revoked']);
  holds('lost', lost);
});

check('lock: one holds it, another is refused, then it is free', async () => {
  const lock = await c.lock('lock').ttl(10).acquire();
  let error;
  await c.lock('lock').acquire().catch(thrown => (error = thrown));
  holds(`refused: ${error}`, error instanceof EtcdLockFailedError);
  await lock.release();
  same('free', await c.lock('lock').do(async () => 'inside'), 'inside');
});

check('lock: a holder whose lease ends loses it', async () => {
  const held = await c.lock('lock/lost').ttl(10).acquire();
  await c.leaseClient.leaseRevoke({ ID: await held.leaseId() });
  await c.lock('lock/lost').ttl(5).do(() => {});
});

check('election: one leads, proclaims and resigns, the next leads; observers see it', async () => {
  const election = c.election('race', 10);
  const first = election.campaign('one');
  await first.wait();
  const observer = await election.observe();
  const seen = [];
  observer.on('change', leader => seen.push(leader));
  same('leader', await election.leader(), 'one');
  const second = c.election('race', 10).campaign('two');
  let elected = false;
  second.on('elected', () => (elected = true));
  await first.proclaim('still one');
  await eventually('proclaimed', async () => (await election.leader()) === 'still one');
  await eventually('observed', () => observer.leader() === 'still one');
  holds('the second does not lead', !elected);
  await first.resign();
  await eventually('the second leads', () => elected);
  await eventually('observed', () => observer.leader() === 'two');
  await second.resign();
  await eventually('nobody leads', async () => (await election.leader()) === undefined);
  await observer.cancel();
});

check('cluster: members are listed, added, moved and removed', async () => {
  const { members } = await c.cluster.memberList({});
  same('names', members.map(member => member.name).sort(), ['n1', 'n2', 'n3']);
  same('urls', members.flatMap(member => member.clientURLs).sort(), [...endpoints].sort());
  // A cluster takes a member once all voters have seen each other for five seconds.
  let member;
  await eventually('the cluster takes a member', async () => {
    const added = await c.cluster.memberAdd({ peerURLs: ['http://127.0.0.1:1'] }).catch(() => null);
    member = added?.member;
    return member;
  });
  await c.cluster.memberUpdate({ ID: member.ID, peerURLs: ['http://127.0.0.1:2'] });
  same('removed', (await c.cluster.memberRemove({ ID: member.ID })).members.length, 3);
});

check('maintenance: status, alarms, defragment, hash, snapshot', async () => {
  const status = await c.maintenance.status();
  holds('status', status.version.startsWith('3.') && Number(status.dbSize) > 0 && status.leader !== '0');
  same('alarms', (await c.maintenance.alarm({ action: 'GET' })).alarms, []);
  await c.maintenance.defragment();
  holds('hash', 'hash' in (await c.maintenance.hash()));
  const stream = await c.maintenance.snapshot();
  const blobs = [];
  await new Promise((done, failed) => stream.on('data', part => blobs.push(part.blob)).on('end', done).on('error', failed));
  const all = Buffer.concat(blobs);
  same('its sum', crypto.createHash('sha256').update(all.subarray(0, -32)).digest('hex'), all.subarray(-32).toString('hex'));
});

check('reconnect: calls go on, and a watch misses nothing', async () => {
  const own = client(endpoints[1]);
  const others = client([endpoints[0], endpoints[2]]);
  const watcher = await own.watch().key('reconnect').create();
  const events = collect(watcher);
  await others.put('reconnect').value('0');
  await eventually('before', () => events.length === 1);
  await control('kill 2');
  const put = value => eventually('a put', () => others.put('reconnect').value(value).then(() => true, () => false));
  for (let i = 1; i <= 5; i++) await put(i);
  await control('start 2');
  await put(6);
  await eventually('after', () => events.includes('put reconnect=6'));
  same('events', [...new Set(events)], [0, 1, 2, 3, 4, 5, 6].map(i => `put reconnect=${i}`));
  await eventually('a call', () => own.get('reconnect').string().then(value => value === '6', () => false));
  own.close();
  others.close();
});

check('auth: users and roles, enabled', async () => {
  await refused('not yet', c.auth.authEnable(), ['root user does not exist']);
  await c.user('root').create('secret');
  const root = await c.role('root').create();
  await root.addUser('root');
  const alice = await c.user('alice').create('wonder');
  const reader = await c.role('reader').create();
  await reader.grant([
    { permission: 'Read', range: c.range({ prefix: 'auth/read/' }) },
    { permission: 'Readwrite', key: 'auth/own' },
    { permission: 'Readwrite', range: c.range({ prefix: 'election/auth/' }) },
  ]);
  await alice.addRole(reader);
  same('users', (await c.getUsers()).map(user => user.name), ['alice', 'root']);
  same('roles', (await c.getRoles()).map(role => role.name), ['reader', 'root']);
  same("alice's", (await alice.roles()).map(role => role.name), ['reader']);
  same('permissions', (await reader.permissions()).map(one => one.permission).sort(), ['Read', 'Readwrite', 'Readwrite']);
  await refused('twice', c.user('alice').create('x'), ['user name already exists']);
  await refused('no such role', c.role('none').permissions(), ['role name not found']);
  await c.put('auth/read/a').value('1');
  await c.auth.authEnable();
});

check('auth: who says no name, or a wrong word, is turned away', async () => {
  // A certificate says who asks, though ours has no name in it.
  const nobody = env.CLIENTS_CA ? 'permission denied' : 'user name is empty';
  await refused('nobody', c.get('auth/read/a').string(), [nobody]);
  const wrong = as('alice', 'x');
  await refused('a wrong word', wrong.get('auth/read/a').string(), ['authentication failed']);
  wrong.close();
});

check('auth: a user may do what its role grants, and nothing else, in watches and elections too', async () => {
  const [root, alice] = [as('root', 'secret'), as('alice', 'wonder')];
  same('read', await alice.get('auth/read/a').string(), '1');
  await alice.put('auth/own').value('1');
  const denied = (what, call) => refused(what, call, ['permission denied']);
  await denied('a put', alice.put('auth/read/a').value('2'));
  await denied('another key', alice.get('auth/other').string());
  await denied('all', alice.getAll().strings());
  await denied('a deletion', alice.delete().prefix('auth/'));
  await denied('a transaction', alice.if('auth/other', 'Create', '==', 0).then(alice.get('auth/own')).commit());
  await denied('administration', alice.user('mallory').create('x'));
  const watcher = await alice.watch().prefix('auth/read/').create();
  const events = collect(watcher);
  await root.put('auth/read/b').value('1');
  await eventually('an event', () => events.length === 1);
  await watcher.cancel();
  const campaign = alice.election('auth', 10).campaign('alice');
  await campaign.wait();
  await campaign.resign();
  root.close();
  alice.close();
});

check('auth: what is taken away is gone, and the door open again', async () => {
  const [root, alice] = [as('root', 'secret'), as('alice', 'wonder')];
  await alice.put('auth/own').value('2');
  await root.role('reader').revoke({ permission: 'Readwrite', key: 'auth/own' });
  await refused('a put', alice.put('auth/own').value('3'), ['permission denied']);
  await root.user('alice').setPassword('new');
  const again = as('alice', 'new');
  same('read', await again.get('auth/read/a').string(), '1');
  await root.user('alice').removeRole('reader');
  await refused('a read', again.get('auth/read/a').string(), ['permission denied']);
  await root.role('reader').delete();
  await root.user('alice').delete();
  await root.auth.authDisable();
  same('open', await c.get('auth/read/a').string(), '1');
  [root, alice, again].forEach(one => one.close());
});

async function main() {
  c = client();
  const beginnings = (env.CLIENTS_NOT_YET || '').split(',').filter(word => word);
  let [passed, failed, notYet] = [0, 0, 0];
  for (const { name, run } of checks) {
    if (beginnings.some(word => name.startsWith(word))) {
      notYet++;
      console.log(`not yet ${name}`);
      continue;
    }
    const begin = Date.now();
    try {
      const late = pause(3 * PATIENCE_MS).then(() => Promise.reject(new Error('it hangs')));
      late.catch(() => {});
      await Promise.race([run(), late]);
      passed++;
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.error(error);
      console.log(`FAILED ${name}: ${String(error && error.message).replace(/\n/g, ' ')}`);
    }
    console.error(`${String(Date.now() - begin).padStart(6)} ms  ${name}`);
  }
  console.log(`${passed} passed, ${failed} failed, ${notYet} not yet`);
  process.exit(failed ? 1 : 0);
}

process.on('unhandledRejection', error => console.error('unhandled:', error));
main();
