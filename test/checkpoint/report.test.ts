/** The report page in a browser, where one is installed: it must draw, fit a phone, load nothing and run nothing. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHUNK_BYTES, reportPage, Store } from '../../src/checkpoint/index.js';

const HOSTILE = '"><script>document.title="pwned"</script><img src=x onerror=alert(1)>&\u202e';
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];
const browser = BROWSERS.find((name) => spawnSync(name, ['--version']).status === 0);
if (!browser) console.warn('no Chromium here: the report page is not opened in a browser');

let folder: string;
let page: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-report-'));
  const store = await Store.open({ directory: join(folder, 'store') }, { create: true });
  let parent: string | null = null;
  for (let step = 0; step < 40; step++) {
    const session = await store.begin({
      kind: parent ? 'increment' : 'full',
      parent,
      note: HOSTILE,
      device: { name: HOSTILE, uuid: '', driver: '', memoryBytes: 0 },
      kernels: [{ name: HOSTILE, verdict: 'unknown', launches: 1, bytes: step, reason: HOSTILE }],
    });
    const size = 300 * CHUNK_BYTES;
    const big = { id: 1n, address: 1n << 40n, size, kind: 'device', label: HOSTILE } as const;
    const ranges = parent ? { ranges: [{ from: step * 7, count: 5, origin: 'bounded' as const }] } : {};
    await session.add(big, { ...ranges, bytes: (_, from, to) => Buffer.alloc(to - from, step + 1) });
    if (step > 20) {
      const late = { id: 2n, address: 4096n, size: 10, kind: 'host', label: 'late' } as const;
      await session.add(late, { bytes: Buffer.alloc(10, step) });
    }
    parent = (await session.commit()).id;
  }
  ({ page } = await reportPage(store));
  store.close();
  writeFileSync(join(folder, 'report.html'), page);
  // A frame is as narrow as a phone, a window may not be.
  const script = `const [frame] = document.getElementsByTagName('iframe');
    frame.onload = () => { document.body.dataset.wide = frame.contentDocument?.documentElement.scrollWidth ?? 'none'; };`;
  writeFileSync(
    join(folder, 'phone.html'),
    `<body><iframe src="report.html" style="width:390px;height:900px;border:0"></iframe><script>${script}</script>`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function open(file: string): string {
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
  ];
  flags.push(
    '--disable-component-update',
    '--disable-sync',
    '--allow-file-access-from-files',
    '--virtual-time-budget=3000',
  );
  const { stdout } = spawnSync(
    browser!,
    [...flags, `--user-data-dir=${join(folder, `profile-${file}`)}`, '--dump-dom', `file://${join(folder, file)}`],
    { encoding: 'utf8', timeout: 50_000, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
  );
  return stdout;
}

describe('the report page', () => {
  it('holds text of the store as text only, and nothing that loads', () => {
    expect(page).not.toMatch(/<script|<img|onerror=alert\(1\)>|https?:|url\(|\u202e/);
    expect(page).toContain('&#60;script&#62;');
    expect(page).toContain("default-src 'none'");
  });

  it('draws every allocation with a text that says the same', () => {
    const figures = page.match(/<svg[^>]*role="img" aria-label="[^"]*: changed in (\d+) of (\d+) checkpoints/g) ?? [];
    expect(figures).toHaveLength(2);
    expect(figures[0]).toContain('changed in 40 of 40');
    expect(figures[1]).toContain('late: changed in 19 of 19');
    // The first row is the newest: chunks 273 to 277 of 300 are about buckets 145 to 148 of 160.
    expect(page).toMatch(/<path class="l4" d="[^"]*M14[56] 0\.5h[123]/);
    // Where it was not allocated, the older half.
    expect(page).toMatch(/<path class="absent" d="M0 19\.5h1/);
  });

  it('stays small, however large an allocation is', async () => {
    const store = await Store.open({ mem: 'report-huge' }, { create: true });
    const session = await store.begin({ kind: 'full' });
    const size = 20_000 * CHUNK_BYTES;
    const piece = Buffer.alloc(4 << 20);
    await session.add(
      { id: 1n, address: 0n, size, kind: 'device', label: 'big' },
      { bytes: (_, from, to) => piece.subarray(0, to - from) },
    );
    const { id } = await session.commit();
    for (let step = 0; step < 3; step++) {
      const increment = await store.begin({ kind: 'increment', parent: id });
      const ranges = Array.from({ length: 5000 }, (_, i) => ({ from: i * 4 + step, count: 1 }));
      await increment.add(
        { id: 1n, address: 0n, size, kind: 'device', label: 'big' },
        { ranges, bytes: (_, from, to) => Buffer.alloc(to - from, 1) },
      );
      await increment.commit();
    }
    expect((await reportPage(store)).page.length).toBeLessThan(40_000);
    store.close();
  });

  it.skipIf(!browser)(
    'runs nothing of the store in a browser',
    () => {
      const dom = open('report.html');
      expect(dom).toContain('<title>Checkpoints in');
      expect(dom).not.toContain('<title>pwned');
      expect(dom).toContain('What changed where');
    },
    60_000,
  );

  it.skipIf(!browser)(
    'is no wider than a phone',
    () => {
      expect(Number(/data-wide="(\w+)"/.exec(open('phone.html'))?.[1])).toBeLessThanOrEqual(390);
    },
    60_000,
  );
});
