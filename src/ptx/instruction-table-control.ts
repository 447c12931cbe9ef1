/**
 * Control flow (PTX ISA 9.7.12), barriers, fences and warp-wide exchange (9.7.13), stack (9.7.17), miscellaneous (9.7.19).
 * Barrier objects live in shared memory; none of these rows writes global memory.
 */

import type { InstructionForm } from './instruction-form.js';
import { COMPLETE_TX, form, forms, SCOPES, SHARED } from './instruction-table-notation.js';

const ARRIVE = `.release .relaxed .cta .cluster ${SHARED} .b64`;
const WAIT = '.parity .acquire .relaxed .cta .cluster .shared .shared::cta .b64';

export const CONTROL_FORMS: readonly InstructionForm[] = [
  form('bra', 'l', '.uni', '9.7.12.3'),
  form('brx.idx', 's l', '.uni', '9.7.12.4'),
  // (returned), callee, (arguments), then for an indirect call its target list or prototype.
  form('call', '(d)? l (s)? l?', '.uni', '9.7.12.5'),
  form('ret', '', '.uni', '9.7.12.6'),
  form('exit', '', '', '9.7.12.7'),

  ...forms('bar.sync barrier.sync', 's s?', '.cta .aligned', '9.7.13.1'),
  ...forms('bar.arrive barrier.arrive', 's s', '.cta .aligned', '9.7.13.1'),
  ...forms('bar.red barrier.red', 'd s s? s', '.cta .aligned .popc .and .or .u32 .pred', '9.7.13.1'),
  form('bar.warp.sync', 's', '', '9.7.13.2'),
  form('barrier.cluster.arrive', '', '.release .relaxed .aligned', '9.7.13.3'),
  form('barrier.cluster.wait', '', '.acquire .aligned', '9.7.13.3'),

  form(
    'fence',
    '',
    `.sc .acq_rel .acquire .release ${SCOPES} .mbarrier_init .sync_restrict::shared::cta .sync_restrict::shared::cluster`,
    '9.7.13.4',
  ),
  form(
    'fence.proxy',
    'a? s?',
    `.alias .async .global ${SHARED} .tensormap::generic .async::generic .acquire .release ${SCOPES}
    .sync_restrict::shared::cta .sync_restrict::shared::cluster`,
    '9.7.13.4',
  ),
  form('membar', '', '.cta .gl .sys', '9.7.13.4'),
  form('membar.proxy', '', `.alias .async .global ${SHARED}`, '9.7.13.4'),

  form('vote', 'd s', '.all .any .uni .ballot .pred .b32', '9.7.13.8'),
  form('vote.sync', 'd s s', '.all .any .uni .ballot .pred .b32', '9.7.13.9'),
  form('match.any.sync', 'd s s', '.b32 .b64', '9.7.13.10'),
  form('match.all.sync', 'd s s', '.b32 .b64', '9.7.13.10'),
  form('activemask', 'd', '.b32', '9.7.13.11'),
  form('redux.sync', 'd s s', '.add .min .max .and .or .xor .abs .NaN .u32 .s32 .b32 .f32', '9.7.13.12'),
  form('griddepcontrol', '', '.launch_dependents .wait', '9.7.13.13'),
  form('elect.sync', 'd s', '', '9.7.13.14'),

  form('mbarrier.init', 'a s', '.shared .shared::cta .b64', '9.7.13.15.9'),
  form('mbarrier.inval', 'a', '.shared .shared::cta .b64', '9.7.13.15.10'),
  form('mbarrier.expect_tx', 'a s', `.relaxed .cta .cluster ${SHARED} .b64`, '9.7.13.15.11'),
  form('mbarrier.complete_tx', 'a s', `.relaxed .cta .cluster ${SHARED} .b64`, '9.7.13.15.12'),
  // The destination is required, `_` where there is none (remote barriers).
  ...forms('mbarrier.arrive mbarrier.arrive_drop', 'd a s?', ARRIVE, '9.7.13.15.13 9.7.13.15.14'),
  ...forms(
    'mbarrier.arrive.expect_tx mbarrier.arrive.noComplete mbarrier.arrive_drop.expect_tx mbarrier.arrive_drop.noComplete',
    'd a s',
    ARRIVE,
    '9.7.13.15.13 9.7.13.15.14',
  ),
  form('cp.async.mbarrier.arrive', 'a', '.noinc .shared .shared::cta .b64', '9.7.13.15.15'),
  form('mbarrier.test_wait', 'd a s', WAIT, '9.7.13.15.16'),
  form('mbarrier.try_wait', 'd a s s?', WAIT, '9.7.13.15.16'),
  form('mbarrier.pending_count', 'd s', '.b64', '9.7.13.15.17'),

  // Writes its 16-byte answer to shared memory.
  form(
    'clusterlaunchcontrol.try_cancel',
    'a a',
    `.async .shared::cta ${COMPLETE_TX} .multicast::cluster::all .b128`,
    '9.7.13.17',
  ),
  form(
    'clusterlaunchcontrol.query_cancel',
    'd s',
    `.is_canceled .get_first_ctaid .get_first_ctaid::x .get_first_ctaid::y .get_first_ctaid::z .pred .v4 .b32 .b128`,
    '9.7.13.18',
  ),

  form('stacksave', 'd', '.u32 .u64', '9.7.17.1'),
  form('stackrestore', 's', '.u32 .u64', '9.7.17.2'),
  form('alloca', 'd s s?', '.u32 .u64', '9.7.17.3'),

  form('brkpt', '', '', '9.7.19.1'),
  form('nanosleep', 's', '.u32', '9.7.19.2'),
  form('pmevent', 's', '.mask', '9.7.19.3'),
  form('trap', '', '', '9.7.19.4'),
  form('setmaxnreg', 's', '.inc .dec .sync .aligned .u32', '9.7.19.5'),
];
