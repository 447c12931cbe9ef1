/** A thread that digests pieces of files (file-digests.ts), each message one of them, each answered. */
import { parentPort } from 'node:worker_threads';
import { digestPiece, type Piece, type PieceAnswer } from './file-digests.js';

/** An error's members, which a message would lose. */
const membersOf = (error: Error): object => ({ ...error, message: error.message });

function answerTo(piece: Piece): PieceAnswer {
  try {
    return { digest: digestPiece(piece) };
  } catch (error) {
    return { failure: membersOf(error as Error) };
  }
}

parentPort!.on('message', (piece: Piece) => parentPort!.postMessage(answerTo(piece)));
