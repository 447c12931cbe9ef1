/** A simulated device for this process's own driver: start it before the first call of the driver. */
import { join } from 'node:path';
import { connect } from '../../src/native/index.js';
import { FROM_DRIVER, MessageReader, MessageWriter } from '../../src/simdevice/message.js';
import { type DeviceProcess, ROOT } from '../simdevice/programs.js';

export const DRIVER = join(ROOT, 'build/native/simdriver/libcuda.so.1');

/** Starts it, names it to the driver, and says its UUID. */
export async function startDevice(device: DeviceProcess, ...options: string[]): Promise<Uint8Array> {
  await device.start(...options);
  process.env['GCR_SIM_SOCKET'] = device.socket;
  return new Promise((resolve) => {
    const connection = connect(device.socket);
    connection.receive(
      (packet) => {
        const reply = new MessageReader(packet);
        reply.u64();
        reply.u64();
        resolve(Uint8Array.from(reply.bytes(16)));
        connection.close();
      },
      () => {},
    );
    const packet = new MessageWriter().u32(1).u32(process.pid).packet(FROM_DRIVER.hello, 7n);
    connection.send(packet, []);
  });
}
