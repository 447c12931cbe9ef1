/**
 * Address conversions (PTX ISA 9.7.9.19, 9.7.9.20, 9.7.9.23). A global address equals its generic form, so those
 * conversions vanish; the others stay visible, because they prove where an address points.
 */
import type { MemorySpace } from '../program.js';
import { act } from './actions.js';
import type { Frame, View } from './frame.js';

function spaceOf(view: View): MemorySpace {
  return view.m.spaces[0] ?? 'generic';
}

/** Lowers cvta, cvta.to, isspacep, mapa; false for any other form. */
export function lowerAddress(frame: Frame, view: View, form: string): boolean {
  const { builder } = frame;
  const [destination, source] = view.node.operands;
  const width = view.m.types[0]?.width ?? 64;
  const space = spaceOf(view);
  switch (form) {
    case 'cvta':
    case 'cvta.to': {
      const address = frame.use(view, source, width);
      if (space === 'global' || space === 'generic') {
        frame.define(view, destination, address);
        return true;
      }
      const known = builder.get(address);
      // There and back again is the same address.
      const inverse = form === 'cvta' ? 'fromGeneric' : 'toGeneric';
      if (known.op === inverse && known.space === space) frame.define(view, destination, known.args[0]!);
      else {
        const op = form === 'cvta' ? 'toGeneric' : 'fromGeneric';
        frame.define(view, destination, builder.value(op, width, [address], { space }));
      }
      return true;
    }
    case 'isspacep': {
      const address = frame.use(view, source, 64);
      frame.define(view, destination, builder.value('isSpace', 1, [address], { space }));
      return true;
    }
    case 'mapa': {
      // Without a space the result is a generic address, always of some block's shared memory.
      const generic = space === 'generic';
      const operands = [frame.use(view, source, 64), frame.use(view, view.node.operands[2], 32)];
      const mode = generic ? 'generic' : 'shared';
      const address = builder.result(act(frame, view, 'clusterAddress', { mode, operands }), 0, width, 'GCR4008');
      frame.define(
        view,
        destination,
        generic ? builder.value('toGeneric', width, [address], { space: 'shared' }) : address,
      );
      return true;
    }
    default:
      return false;
  }
}
