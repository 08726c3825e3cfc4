"""kind of an exposure"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exposure", sa.Column("kind", sa.Text(), server_default="flag", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("a database does not go back; restore the backup taken before the upgrade")
