-- Nothing of a checkpoint is left on a node. Index: left_on_node_pkey.
DELETE FROM left_on_node l WHERE l.node = %(node)s AND l.checkpoint_id = %(id)s
