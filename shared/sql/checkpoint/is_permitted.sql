-- A permit whose answer was lost is read, never guessed: restored with my epoch means permitted.
SELECT c.id FROM checkpoint c WHERE c.id = %(id)s AND c.status = 'restored' AND c.epoch = %(epoch)s
